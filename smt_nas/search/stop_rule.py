"""When a search stops before all networks are tried: the rule that is asked for, as a value."""

from __future__ import annotations

import math
import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from smt_nas.errors import ConfigError

ANY_NUMBER = 1_000_000
"""Networks to try where time or the hypervolume says when it is enough."""
_UNTIL = re.compile(r"hv-stall:([1-9]\d{0,5})")
StopReason = Literal["minutes", "hv-stall"]


class StopRule(BaseModel):
    """When to stop before all networks are tried.

    Attributes:
        minutes: of the run's own working time, after which no network is begun; None for any.
        hv_stall: rounds in which the hypervolume must grow by more than `stopping.STALLED`; None
            for none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    minutes: Annotated[float | None, Field(gt=0, allow_inf_nan=False)] = None
    hv_stall: Annotated[int | None, Field(ge=1)] = None

    @property
    def is_set(self) -> bool:
        """Whether there is any."""
        return self.minutes is not None or self.hv_stall is not None


def count_wanted(n: int) -> int | None:
    """Networks that are to be tried; None for any number."""
    return None if n >= ANY_NUMBER else n


def read_stop_rule(minutes: float | None, until: str | None) -> StopRule:
    """The rule of `--minutes` and `--until hv-stall:R`. Raises ConfigError."""
    if minutes is not None and not 0 < minutes < math.inf:
        raise ConfigError(f"--minutes: must be more than 0 (got {minutes:g}). E.g. --minutes 30.")
    return StopRule(minutes=minutes, hv_stall=None if until is None else _read_until(until))


def _read_until(text: str) -> int:
    match = _UNTIL.fullmatch(text)
    if match is None:
        raise ConfigError(
            f"--until: must be hv-stall:R, with R rounds from 1 (got {text!r}). E.g. --until "
            "hv-stall:5."
        )
    return int(match[1])
