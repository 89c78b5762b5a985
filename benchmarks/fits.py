"""Fits that leave something out, kept on disk by a digest of the code they depend on."""

from __future__ import annotations

import functools
import pickle
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

from benchmarks.measured import family, network_samples, op_samples
from benchmarks.smt_rows import smt_samples
from benchmarks.zoo import CACHE
from smt_nas import conditions
from smt_nas.costs import ops
from smt_nas.devices import gpu_kernels, roofline
from smt_nas.devices.gpu_kernels import Floats
from smt_nas.fingerprint import fingerprint
from smt_nas.models import operators
from tools import roofline_fit
from tools.roofline_fit import RooflineFit, Sample

GROUPS = 5  # of families


def group_of(name: str) -> int:
    """The group of a family, from its name alone."""
    return zlib.crc32(name.encode()) % GROUPS


def all_samples() -> list[Sample]:
    """Networks of timm, SMT networks and their parts."""
    return [*network_samples().values(), *smt_samples().values()]


@functools.cache
def without(device: str, group: int | None = None) -> RooflineFit:
    """Fitted on all networks and operators but those of a device, and of a group of families."""

    def make() -> RooflineFit:
        samples = [s for s in all_samples() if s.device != device]
        if group is not None:
            keep = [np.array([group_of(family(n)) != group for n in s.names]) for s in samples]
            samples = [s.only(k) for s, k in zip(samples, keep, strict=True)]
        start = None if group is None else without(device)
        ops = [s for (_, d), s in op_samples().items() if d != device]
        return roofline_fit.fit_roofline([*samples, *ops], start, 30 if start is None else 8)

    return _load_or_fit(f"{device}.{group}", make)


@functools.cache
def ops_without(device: str) -> RooflineFit:
    """Fitted on single operators of all other devices."""
    samples = [s for (_, d), s in op_samples().items() if d != device]
    return _load_or_fit(f"ops.{device}", lambda: roofline_fit.fit_roofline(samples))


@functools.cache
def without_chips(prefixes: tuple[str, ...]) -> RooflineFit:
    """Fitted on all networks, and on operators of devices whose name starts otherwise."""
    samples = [s for (_, d), s in op_samples().items() if not d.startswith(prefixes)]
    name = f"chips.{'-'.join(prefixes)}"
    return _load_or_fit(name, lambda: roofline_fit.fit_roofline([*all_samples(), *samples]))


@functools.cache
def of_all() -> RooflineFit:
    """Fitted on everything: what is shipped."""
    return _load_or_fit(
        "all",
        lambda: roofline_fit.fit_roofline([*all_samples(), *op_samples().values()]),
    )


def logs(fitted: RooflineFit, sample: Sample, known: bool = False) -> Floats:
    """Log of prediction over truth, (n,)."""
    return np.asarray(np.log(fitted.predict(sample, known) / sample.truth_ms))


def half_width(
    logs_by_column: Mapping[str, Floats], networks: Mapping[str, Sample], devices: set[str]
) -> float:
    """Half an interval for a device that is none of some, which count alike.

    It is the 80 % quantile of |log|. What the networks of a device have in common varies from
    device to device, and few of them tell by how much: so it is widened as Student's quantile is
    beyond the normal one.
    """
    values, weights = [], []
    for device in devices:
        own = np.concatenate([r for c, r in logs_by_column.items() if networks[c].device == device])
        values.append(np.abs(own))
        weights.append(np.full(len(own), 1 / len(own)))
    value, weight = np.concatenate(values), np.concatenate(weights)
    order = np.argsort(value)
    few = student.ppf(0.9, len(devices) - 1) / norm.ppf(0.9)
    return float(few * np.interp(0.8, np.cumsum(weight[order]) / weight.sum(), value[order]))


def _load_or_fit(name: str, make: Callable[[], RooflineFit]) -> RooflineFit:
    path = CACHE.parent / "fits" / f"{name}.{_digest()}.pkl"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pickle.dumps(make()))
    fit: RooflineFit = pickle.loads(path.read_bytes())
    return fit


@functools.cache
def _digest() -> str:
    """Of the code that a fit depends on."""
    files = [
        str(m.__file__) for m in (conditions, roofline_fit, gpu_kernels, operators, ops, roofline)
    ]
    files += [str(Path(__file__).parent / f"{name}.py") for name in ("measured", "smt_rows", "zoo")]
    text = b"".join(Path(f).read_bytes() for f in files)
    return fingerprint(text)
