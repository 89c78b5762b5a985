"""How a target's latency is predicted, so that a later run can tell whether it still is.

Kept in run.yaml. The digest is of what is predicted, not of a file: whatever changes a prediction
(a sheet, a table, a coefficient) changes it, and nothing else does.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from smt_nas.devices.block_table import Basis, Latency
from smt_nas.devices.device import Device, is_predicted
from smt_nas.fingerprint import fingerprint
from smt_nas.search.problem.objectives import LatencyTarget
from smt_nas.space import SearchSpace
from smt_nas.space.baselines import baselines

_PROBES = 200  # networks whose predictions the digest is of
_DIGITS = 6  # of each; more would differ between processors


class LatencyPrediction(BaseModel):
    """Where the predicted latencies of a target come from.

    Attributes:
        basis: as in `Latency`.
        notes: what a reader must know.
        digest: 12 hex digits of what is predicted for networks of the space.
        presets: milliseconds, low and high of each preset that is predicted: in a form that only
            tables tell of, those in the space.
        apart: presets outside the space, with their basis where it is another one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    basis: Basis
    notes: tuple[str, ...]
    digest: str
    presets: dict[str, tuple[float, float, float]]
    apart: dict[str, Basis] = Field(default_factory=dict)


class TargetRecord(BaseModel):
    """A target of a search, with its prediction where its latency is predicted.

    Attributes:
        target: the device and the conditions.
        forecast: how its latency is predicted; the name is that of run.yaml.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    target: LatencyTarget
    forecast: LatencyPrediction | None = None


def predict_latency(device: Device, target: LatencyTarget, space: SearchSpace) -> LatencyPrediction:
    """Predict the presets and the networks of the digest.

    Raises:
        MeasurementError: the device cannot be predicted under these conditions.
    """
    probes = space.sample(np.random.default_rng(0), _PROBES)
    predicted = device.predict(space, probes, target.conditions)
    presets, apart = {}, {}
    for name, arch in baselines(space).items():
        inside = bool(space.contains([arch])[0])
        if not inside and not is_predicted(target.conditions):
            continue  # only what the table holds is known in such a form
        one = (
            device.predict(space, space.encode(arch), target.conditions)
            if inside
            else device.predict_arch(arch, target.conditions)
        )
        presets[name] = (float(one.ms[0]), float(one.low[0]), float(one.high[0]))
        if not inside and one.basis != predicted.basis:
            apart[name] = one.basis
    digest = _digest([predicted], list(presets.values()))
    return LatencyPrediction(
        basis=predicted.basis, notes=predicted.notes, digest=digest, presets=presets, apart=apart
    )


def _digest(latencies: Sequence[Latency], others: Sequence[tuple[float, ...]]) -> str:
    numbers = [v for x in latencies for part in (x.ms, x.low, x.high) for v in part.tolist()]
    numbers += [v for row in others for v in row]
    return fingerprint(" ".join(f"{v:.{_DIGITS}g}" for v in numbers))
