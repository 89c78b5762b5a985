"""What accuracies of a few seeds on one test set say: intervals of means and differences.

A network's trainings differ by their seeds, and all are judged by the same images. So the model is
that of crossed random effects (images and seeds; Searle, Casella and McCulloch, "Variance
Components", 1992, ch. 4): the variance of a difference of means is that over images of the paired
difference, which holds the interplay of image and seed, and that of seeds alone. The latter is
pooled over all networks of a comparison, as two seeds say little of one. What a seed does to all
networks alike counts as noise too, so intervals are rather wide. Of one seed, nothing is known of
seeds, and an interval tells of images alone.

Points are percentage points, intervals are of 95 %.

python -m benchmarks.proof_statistics    how often intervals hold the truth, when simulated
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Bools = NDArray[np.bool_]
_TAIL = 0.975
_COMPARISONS = 400  # of a simulation


@dataclass(frozen=True)
class Figure:
    """A mean or a difference, in points, with its interval."""

    value: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Of the interval."""
        return (self.high - self.low) / 2


@dataclass(frozen=True)
class SeedNoise:
    """How much trainings of one network differ.

    Attributes:
        component: variance of accuracy over seeds beyond what the images' draw explains.
        total: with that; what is measured of it by its degrees of freedom.
        freedom: trainings less networks, of networks with two seeds and more; 0: nothing is known.
    """

    component: float
    total: float
    freedom: int

    @property
    def points(self) -> float:
        """Standard deviation of the accuracy of one training, in points."""
        return 100 * math.sqrt(self.total)


def measure_seed_noise(networks: Iterable[Bools]) -> SeedNoise:
    """Pool the noise of seeds over networks: of each which images are right, (seeds, n)."""
    total = interplay = 0.0
    freedom = 0
    for right in networks:
        seeds, n = right.shape
        if seeds < 2:
            continue
        total += (seeds - 1) * float(np.var(right.mean(axis=1), ddof=1))
        interplay += (seeds - 1) * float(np.var(right, axis=0, ddof=1).mean()) / n
        freedom += seeds - 1
    if not freedom:
        return SeedNoise(0.0, 0.0, 0)
    total, interplay = total / freedom, interplay / freedom
    return SeedNoise(max(total - interplay, 0.0), total, freedom)


def estimate_mean(right: Bools, noise: SeedNoise) -> Figure:
    """Mean accuracy of a network whose trainings got images right, (seeds, n)."""
    return _make_figure(right.mean(axis=0), 1 / len(right), noise)


def estimate_difference(right: Bools, reference: Bools, noise: SeedNoise) -> Figure:
    """Accuracy of a network less that of another on the same images, (seeds, n) each."""
    paired = right.mean(axis=0) - reference.mean(axis=0)
    return _make_figure(paired, 1 / len(right) + 1 / len(reference), noise)


def _make_figure(per_image: NDArray[np.float64], share: float, noise: SeedNoise) -> Figure:
    """The mean of a figure of each image, (n,); `share` of the seeds' variance is in it.

    Degrees of freedom by Satterthwaite (1946, Biometrics Bulletin 2, 110-114).
    """
    n = len(per_image)
    images = float(np.var(per_image, ddof=1)) / n
    variance = images + share * noise.component
    freedom = float(n - 1)
    if noise.freedom and variance > 0:
        seeds = share * noise.total
        freedom = variance**2 / (images**2 / (n - 1) + seeds**2 / noise.freedom)
        freedom = max(freedom, float(noise.freedom))  # a part may be measured as nothing
    mean = float(per_image.mean())
    half = float(stats.t.ppf(_TAIL, freedom)) * math.sqrt(variance)
    return Figure(100 * mean, 100 * (mean - half), 100 * (mean + half))


def simulate_coverage(seeds: int, seed_sd: float, rng: np.random.Generator) -> tuple[float, float]:
    """Share of intervals that hold the true difference of two networks, and their mean half width.

    Ten networks of one true accuracy are judged by 1,000 images of unequal difficulty.

    Args:
        seeds: of each.
        seed_sd: by which trainings truly differ, in points.
        rng: draws all of it.
    """
    held, widths = list[bool](), list[float]()
    for _ in range(_COMPARISONS):
        difficulty = rng.normal(0, 1, (1, 1, 1000))
        own = 0.8 * rng.normal(0, 1, (10, 1, 1000))  # what a network is good at
        level = difficulty + own + seed_sd / 25 * rng.normal(0, 1, (10, seeds, 1))
        right = rng.random((10, seeds, 1000)) < 1 / (1 + np.exp(-level))
        noise = measure_seed_noise(right)
        figure = estimate_difference(right[0], right[1], noise)
        held.append(figure.low <= 0 <= figure.high)
        widths.append(figure.half_width)
    return float(np.mean(held)), float(np.mean(widths))


def main() -> None:
    """Print a row for each number of seeds and noise of them."""
    rng = np.random.default_rng(0)
    print(f"{'seeds':>5} {'their noise':>11} {'held':>6} {'half width':>10}")
    for seeds in (2, 3):
        for seed_sd in (0.0, 0.5, 2.0):
            held, width = simulate_coverage(seeds, seed_sd, rng)
            print(f"{seeds:5} {seed_sd:11.1f} {held:6.1%} {width:10.2f}")


if __name__ == "__main__":
    main()
