"""Fitting the roofline's coefficients to measurements: of single operators, of whole networks.

Residuals are logs of prediction over truth under a robust loss, so that every network counts alike
and a few odd ones do not pull. Each device and mode gets a factor of its own while fitting, drawn
towards 1: what is particular to a device then does not bend the coefficients, which are for all.
Needs scipy; nothing that predicts does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from smt_nas.devices.fusion import Floats, Ints, Kernels
from smt_nas.devices.roofline import Hardware, kernel_times

SPREAD = 0.7  # of a coefficient about its first guess, in log: weak
DEVICE_SPREAD = 0.15  # of a device's factor about 1, in log
LOSS_SCALE = 0.15  # residuals above this count less than squared


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
        weight: of a residual.
    """

    device: str
    mode: str
    names: tuple[str, ...]
    hardware: Hardware
    kernels: Kernels
    count: Floats
    network: Ints
    truth_ms: Floats
    weight: float = 1.0

    def predict(self, c: Mapping[str, float]) -> Floats:
        """Milliseconds of each network by the roofline, (n,)."""
        times = kernel_times(self.kernels, self.hardware, c, self.mode == "compile")
        total = np.bincount(self.network, self.count * times.total, len(self.names))
        return total.astype(np.float64)

    def only(self, keep: np.ndarray) -> Sample:
        """The networks chosen by a mask (n,)."""
        place = np.cumsum(keep) - 1
        rows = keep[self.network]
        return replace(
            self,
            names=tuple(n for n, k in zip(self.names, keep, strict=True) if k),
            kernels=take(self.kernels, rows),
            count=self.count[rows],
            network=place[self.network[rows]],
            truth_ms=self.truth_ms[keep],
        )


def take(kernels: Kernels, rows: np.ndarray) -> Kernels:
    """Some rows of kernels."""
    return Kernels(**{f.name: getattr(kernels, f.name)[rows] for f in fields(Kernels)})


def joined(parts: Sequence[Kernels]) -> tuple[Kernels, Floats, Ints]:
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
    columns["kind"] = columns["kind"].astype(np.int64)
    columns["owner"] = np.zeros(len(table), dtype=np.int64)
    return Kernels(**columns), np.concatenate(counts), np.concatenate(networks)


def fit(
    samples: Sequence[Sample],
    start: Mapping[str, float],
    free: Sequence[str],
    spread: Mapping[str, float] | None = None,
) -> tuple[dict[str, float], dict[tuple[str, str], float]]:
    """Fit some coefficients.

    Args:
        samples: what was measured.
        start: all coefficients, as first guesses.
        free: names of those to fit.
        spread: of single coefficients about their guess, in log; `SPREAD` of the others.

    Returns: all coefficients; the factor of each (device, mode) of the samples.
    """
    from scipy.optimize import least_squares

    free, keys = list(free), sorted({(s.device, s.mode) for s in samples})
    guess = np.log([start[name] for name in free])
    widths = np.array([(spread or {}).get(name, SPREAD) for name in free])

    def unpack(x: Floats) -> dict[str, float]:
        return {**start, **dict(zip(free, np.exp(x), strict=True))}

    def residuals(x: Floats) -> Floats:
        c, factors = unpack(x[: len(free)]), dict(zip(keys, x[len(free) :], strict=True))
        found = [
            s.weight * (np.log(s.predict(c) / s.truth_ms) + factors[s.device, s.mode])
            for s in samples
        ]
        prior = [(x[: len(free)] - guess) / widths, x[len(free) :] / DEVICE_SPREAD]
        return np.concatenate([*found, *(LOSS_SCALE * p for p in prior)])

    x0 = np.concatenate([guess, np.zeros(len(keys))])
    result = least_squares(
        residuals, x0, loss="soft_l1", f_scale=LOSS_SCALE, diff_step=1e-3, max_nfev=25
    )
    factors = dict(zip(keys, np.exp(result.x[len(free) :]), strict=True))
    return unpack(result.x[: len(free)]), {k: float(v) for k, v in factors.items()}
