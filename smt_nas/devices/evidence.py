"""`Evidence` of a measured table: how its times came about, and how far off they were."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from smt_nas.conditions import Conditions

_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Share = Annotated[float, Field(ge=0, le=1)]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NetworkTime(_Value):
    """A whole network: what was measured, and what the table says."""

    key: str
    macs: int
    measured_ms: _Positive
    predicted_ms: _Positive
    samples: int


class Calibration(_Value):
    """What was found under one set of conditions.

    Attributes:
        conditions: how everything was run.
        reference_ms: usual time of the reference network; all times are of that speed.
        swing: how far, in log, the machine's speed was from it 80 % of the time, at most.
        parts_measured, parts_fitted: how many of the space's parts.
        fit_error: mean error of the fit between shapes on parts held out of it; None: no fit.
        factor, fixed_ms: from the sum of the parts to a whole network.
        low, high: log of truth over prediction that bounds the interval.
        fitted_on: the networks that `factor` and `fixed_ms` are of.
        held_out: others, that no fit has seen.
        mape: mean absolute error on `held_out`, as a share; None where there is none.
        within_10: share of them that is at most 10 % off.
        spearman: rank correlation on them.
    """

    conditions: Conditions
    reference_ms: _Positive
    swing: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    parts_measured: int
    parts_fitted: int
    fit_error: _Finite | None
    factor: _Positive
    fixed_ms: _Finite
    low: _Finite
    high: _Finite
    fitted_on: tuple[NetworkTime, ...]
    held_out: tuple[NetworkTime, ...]
    mape: _Finite | None
    within_10: _Share | None
    spearman: _Finite | None


class Load(_Value):
    """What others did meanwhile; None where the system does not say.

    Attributes:
        foreign_median, foreign_max: share of the machine's CPU time used by others.
        steal_max: share that a hypervisor gave to others.
        windows: how often it was read.
        interrupted: share of samples that others interrupted, so that CPU time stands for wall
            time (one CPU thread only).
    """

    foreign_median: _Share | None
    foreign_max: _Share | None
    steal_max: _Share | None
    windows: int
    interrupted: _Share


class Evidence(_Value):
    """Where a table comes from, and how good it is.

    Attributes:
        device: key of the device's sheet; `device_name` is what its maker calls it.
        space, space_digest: whose parts they are.
        date: when it was finished, UTC.
        seconds: of measuring.
        complete: every part and network was measured as often as planned; else time was up.
        seed: of the schedule.
        versions: of what ran.
        load: what others did meanwhile.
        table: digest of the CSV.
        calibrations: one for each set of conditions.
    """

    schema_version: Literal[1] = Field(1, alias="schema")
    device: str
    device_name: str
    space: str
    space_digest: str
    date: str
    seconds: float
    complete: bool
    seed: int
    versions: dict[str, str]
    load: Load
    table: str = ""
    calibrations: Annotated[tuple[Calibration, ...], Field(min_length=1)]
