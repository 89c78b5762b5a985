"""Fit the roofline's coefficients to measurements: of single operators, of whole networks.

    python -m benchmarks.predict --write

fits on everything that is stored there, and writes profiles/efficiency.json.

Residuals are logs of prediction over truth under a robust loss, so that every network counts alike
and a few odd ones do not pull. Coefficients are drawn towards what physics suggests. A device has
a factor of its own, and a smaller one by mode, both drawn towards 1: what is particular to a device
then does not bend what is for all, and an unseen one is predicted as a typical one. Needs scipy;
nothing that predicts does.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from smt_nas.devices.gpu_kernels import Floats, Ints, Kernels
from smt_nas.devices.roofline import Hardware, kernel_times

Mask = NDArray[np.bool_]
Key = tuple[str, str]  # device, mode

Guesses = Mapping[str, tuple[float, float]]

GUESSES: Guesses = {  # of a GPU: first guess and spread about it, in log
    "linear_tensor": (0.95, 0.2),
    "matmul_tensor": (0.8, 0.4),
    "conv_tensor": (0.8, 0.3),
    "grouped_tensor": (0.3, 1.0),
    "attention_tensor": (0.6, 0.5),
    "tile_tensor": (40.0, 0.7),
    "depth_tensor": (60.0, 0.7),
    "linear_simt": (0.9, 0.2),
    "matmul_simt": (0.8, 0.4),
    "conv_simt": (0.8, 0.4),
    "grouped_simt": (0.3, 1.0),
    "attention_simt": (0.5, 0.5),
    "tile_simt": (10.0, 0.7),
    "depth_simt": (30.0, 0.7),
    "softmax_macs": (32.0, 0.5),
    "depthwise_fast": (10.0, 1.0),
    "depthwise_last": (0.5, 1.0),
    "depthwise_first": (1.0, 1.0),
    "depthwise_output_macs": (10.0, 0.7),
    "depthwise_area": (0.1, 1.0),
    "odd_share": (0.5, 0.5),
    "relayout": (1.0, 0.7),
    "resize_ns": (20.0, 1.5),
    "norm_row_clocks": (400.0, 0.7),
    "l2_share": (0.4, 0.1),
    "l2_cost": (0.5, 0.1),
    "start_us": (4.0, 0.2),
    "overlap": (3.0, 0.3),
    **{
        f"bytes_{k}": (0.8, 0.25)
        for k in ("linear", "matmul", "attention", "conv", "depthwise", "grouped")
    },
    **{
        f"{how}_{k}": (0.83, 0.2)
        for how in ("bytes", "compiled")
        for k in ("norm", "batchnorm", "softmax", "elementwise", "reduce", "copy", "resize", "cast")
    },
}
GPU_ONLY = frozenset(  # blocks of threads, cuDNN
    ("norm_row_clocks", "depthwise_fast")
)
CPU_GUESSES: Guesses = {
    **{k: v for k, v in GUESSES.items() if k not in GPU_ONLY},
    "linear_simt": (0.7, 0.4),
    "conv_simt": (0.6, 0.4),
    "grouped_simt": (0.15, 0.7),
    "attention_simt": (0.4, 0.5),
    "tile_simt": (4.0, 0.7),
    "softmax_macs": (16.0, 0.7),
    "depthwise_last": (0.15, 0.7),
    "depthwise_first": (0.15, 0.7),
    "l2_share": (0.5, 0.5),
    "l2_cost": (0.3, 0.5),
    "start_us": (8.0, 0.7),
    **{name: (guess, 0.5) for name, (guess, _) in GUESSES.items() if name.startswith("bytes_")},
}
DEVICE_SPREAD = 0.1  # of a device's factor about 1, in log
MODE_SPREAD = 0.04  # of its factor by mode
ALL_SPREAD = 0.15  # of what a whole mode is off
OURS_SPREAD = 0.12  # of a family's factor: what families that no fit has seen are off beyond others
PRIOR = 0.1  # weight of a prior: one spread counts as a network that is 10 % off
ROBUST = 0.15  # residuals above this count less than squared


@dataclass(frozen=True)
class Sample:
    """Networks (or single operators) measured on one device in one mode.

    Attributes:
        device: key of its sheet.
        mode: `eager` or `compile`; `op` of single operators.
        names: of the n networks.
        hardware: of the device, in the precision measured.
        kernels: of all networks, equal ones of a network merged.
        count: how often each kernel runs.
        network: which of the n networks it belongs to.
        truth_ms: (n,) measured.
        weight: (n,) of the residuals.
        extra_ms: what each measurement holds besides.
        ours: they are SMT networks, and not timm's.
    """

    device: str
    mode: str
    names: tuple[str, ...]
    hardware: Hardware
    kernels: Kernels
    count: Floats
    network: Ints
    truth_ms: Floats
    weight: Floats
    extra_ms: float = 0.0
    ours: bool = False

    @property
    def key(self) -> Key:
        """Device and mode."""
        return self.device, self.mode

    def predict(self, c: Mapping[str, float]) -> Floats:
        """Milliseconds of each network by the roofline, (n,)."""
        times = kernel_times(self.kernels, self.hardware, c, self.mode == "compile")
        total = np.bincount(self.network, self.count * times.total, len(self.names))
        return total.astype(np.float64) + self.extra_ms

    def only(self, keep: Mask) -> Sample:
        """The networks chosen by a mask (n,)."""
        place = np.cumsum(keep) - 1
        rows = keep[self.network]
        return replace(
            self,
            names=tuple(n for n, k in zip(self.names, keep, strict=True) if k),
            kernels=select_kernels(self.kernels, rows),
            count=self.count[rows],
            network=place[self.network[rows]],
            truth_ms=self.truth_ms[keep],
            weight=self.weight[keep],
        )


@dataclass(frozen=True)
class RooflineFit:
    """Coefficients and factors.

    Attributes:
        coefficients: of the roofline, all of them.
        modes: log of truth over roofline of a typical device, by mode.
        devices: the same of each device of the samples beyond that, by (device, mode).
        ours: the same of SMT networks beyond that.
    """

    coefficients: dict[str, float]
    modes: dict[str, float]
    devices: dict[Key, float]
    ours: float = 0.0

    def predict(self, sample: Sample, known: bool = False) -> Floats:
        """Milliseconds of each network, (n,); `known`: with the device's own factor."""
        return np.asarray(sample.predict(self.coefficients) * np.exp(self.shift(sample, known)))

    def shift(self, sample: Sample, known: bool = False) -> float:
        """Log of what the roofline of a sample is multiplied by."""
        own = self.devices.get(sample.key, 0.0) if known else 0.0
        return self.modes.get(sample.mode, 0.0) + self.ours * sample.ours + own


@dataclass(frozen=True)
class _Vector:
    """What the optimiser turns: coefficients, then shifts by mode, device, and both; in log."""

    guesses: Guesses
    modes: tuple[str, ...]
    devices: tuple[str, ...]
    keys: tuple[Key, ...]

    @classmethod
    def of(cls, samples: Sequence[Sample], guesses: Guesses) -> _Vector:
        keys = sorted({s.key for s in samples})
        modes, devices = sorted({m for _, m in keys}), sorted({d for d, _ in keys})
        return cls(guesses, tuple(modes), tuple(devices), tuple(keys))

    @property
    def ends(self) -> NDArray[np.int64]:
        """Where its parts end."""
        return np.cumsum([len(self.guesses), len(self.modes), len(self.devices), len(self.keys)])

    @property
    def prior(self) -> tuple[Floats, Floats]:
        """Middle and spread."""
        spread = [s for _, s in self.guesses.values()] + [ALL_SPREAD] * len(self.modes)
        spread += [DEVICE_SPREAD] * len(self.devices) + [MODE_SPREAD] * len(self.keys)
        spread.append(OURS_SPREAD)
        guess = np.log([middle for middle, _ in self.guesses.values()])
        return np.concatenate([guess, np.zeros(len(spread) - len(guess))]), np.array(spread)

    def start(self, earlier: RooflineFit | None) -> Floats:
        """Where to start from."""
        x, ends = self.prior[0].copy(), self.ends
        if earlier is not None:
            x[: ends[0]] = np.log([earlier.coefficients[n] for n in self.guesses])
            x[ends[0] : ends[1]] = [earlier.modes.get(m, 0.0) for m in self.modes]
        return x

    def unpack(self, x: Floats) -> RooflineFit:
        own, by_mode, by_device, by_key, ours = np.split(x, self.ends)
        device = dict(zip(self.devices, by_device, strict=True))
        return RooflineFit(
            dict(zip(self.guesses, map(float, np.exp(own)), strict=True)),
            dict(zip(self.modes, map(float, by_mode), strict=True)),
            {k: float(device[k[0]] + v) for k, v in zip(self.keys, by_key, strict=True)},
            float(ours[0]),
        )


def fit_roofline(
    samples: Sequence[Sample],
    start: RooflineFit | None = None,
    rounds: int = 30,
    guesses: Guesses = GUESSES,
) -> RooflineFit:
    """Fit every coefficient of `guesses`.

    Args:
        samples: what was measured.
        start: where to start from; the guesses by default.
        rounds: of the optimiser at most.
        guesses: middle of each coefficient and spread about it, in log.
    """
    from scipy.optimize import least_squares

    vector = _Vector.of(samples, guesses)
    middle, spread = vector.prior

    coefficient_names = list(guesses)

    @functools.lru_cache(maxsize=2)  # a step in a factor alone leaves the roofline as it is
    def rooflines(coefficients: tuple[float, ...]) -> list[Floats]:
        c = dict(zip(coefficient_names, coefficients, strict=True))
        return [np.log(s.predict(c) / s.truth_ms) for s in samples]

    def residuals(x: Floats) -> Floats:
        now = vector.unpack(x)
        logs = rooflines(tuple(now.coefficients.values()))
        own = [
            s.weight * (r + now.shift(s, known=True)) for s, r in zip(samples, logs, strict=True)
        ]
        return np.concatenate([*own, PRIOR * (x - middle) / spread])

    solution = least_squares(
        residuals,
        vector.start(start),
        loss="soft_l1",
        f_scale=ROBUST,
        x_scale=spread,
        diff_step=1e-3,
        max_nfev=rounds,
    )
    return vector.unpack(solution.x)


def select_kernels(kernels: Kernels, rows: Mask) -> Kernels:
    """Some rows of kernels."""
    return Kernels(**{f.name: getattr(kernels, f.name)[rows] for f in fields(Kernels)})


def concatenate(parts: Sequence[Kernels]) -> tuple[Kernels, Floats, Ints]:
    """Kernels of several networks under each other: with how often, and of which network."""
    names = [f.name for f in fields(Kernels) if f.name != "owner"]
    tables, counts, networks = [], [], []
    for i, part in enumerate(parts):
        table = np.stack([getattr(part, name) for name in names], axis=1)
        unique, count = np.unique(table, axis=0, return_counts=True)
        tables.append(unique)
        counts.append(count.astype(np.float64))
        networks.append(np.full(len(unique), i))
    table = np.concatenate(tables)
    columns = dict(zip(names, table.T, strict=True))
    kind = columns.pop("kind").astype(np.int64)
    owner = np.zeros(len(table), dtype=np.int64)
    kernels = Kernels(kind=kind, owner=owner, **columns)
    return kernels, np.concatenate(counts), np.concatenate(networks)
