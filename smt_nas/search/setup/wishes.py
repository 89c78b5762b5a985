"""How long a resumed search goes on: `--n`, `--minutes`, `--until`, and what gives way to them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from smt_nas.errors import ConfigError
from smt_nas.search.settings import Settings
from smt_nas.search.stop_rule import ANY_NUMBER, StopReason, StopRule, read_stop_rule
from smt_nas.yaml import validated

_NUMBER = re.compile(r"(\+?)(\d{1,7})")
_MINUTES = re.compile(r"(\+?)(\d{1,9}(?:\.\d{1,6})?)")


@dataclass(frozen=True)
class Wishes:
    """What is wished for at a resume; None leaves it as it was.

    Attributes:
        n: networks in all.
        more: networks beyond those that are tried.
        minutes: of work in all.
        more_minutes: of work beyond what was done.
        hv_stall: as in `StopRule`.
    """

    n: int | None = None
    more: int | None = None
    minutes: float | None = None
    more_minutes: float | None = None
    hv_stall: int | None = None

    def apply(
        self, settings: Settings, tried: int, worked_s: float, reached: StopReason | None
    ) -> Settings:
        """The settings to go on with: what was reached gives way to what is wished for now.

        Args:
            settings: of the run so far.
            tried: networks that are there; they stay.
            worked_s: seconds that the run has worked.
            reached: why it would propose no more.

        Raises:
            ConfigError: more networks than a search can try.
        """
        if self == Wishes():
            return settings
        minutes, hv_stall = settings.stop.minutes, settings.stop.hv_stall
        minutes = None if reached == "minutes" else minutes
        hv_stall = None if reached == "hv-stall" else hv_stall
        if self.more_minutes is not None:
            minutes = worked_s / 60 + self.more_minutes
        rule = StopRule(
            minutes=minutes if self.minutes is None else self.minutes,
            hv_stall=hv_stall if self.hv_stall is None else self.hv_stall,
        )
        changes = {"n": self._choose_n(settings, tried), "stop": rule}
        return validated(Settings, settings.model_dump() | changes, "resume")

    def _choose_n(self, settings: Settings, tried: int) -> int:
        if self.more is not None:
            return tried + self.more
        if self.n is not None:
            return max(self.n, tried)
        return ANY_NUMBER if tried >= settings.n else settings.n


def read_wishes(
    n: str | None = None, minutes: str | None = None, until: str | None = None
) -> Wishes:
    """Wishes as a user writes them: `200` or `+100`, `30` or `+10`, `hv-stall:3`.

    Raises:
        ConfigError: none of these.
    """
    plus, number = _split("--n", _NUMBER, n, "a number of networks, or +M for M more", "+100")
    more, limit = _split("--minutes", _MINUTES, minutes, "minutes, or +M for M more", "+10")
    if n is not None and int(number) == 0:
        raise ConfigError(f"--n: must be 1 or more (got {n}). E.g. --n +100.")
    rule = read_stop_rule(float(limit) if limit else None, until)
    return Wishes(
        n=int(number) if number and not plus else None,
        more=int(number) if number and plus else None,
        minutes=None if more else rule.minutes,
        more_minutes=rule.minutes if more else None,
        hv_stall=rule.hv_stall,
    )


def _split(
    option: str, pattern: re.Pattern[str], text: str | None, rule: str, example: str
) -> tuple[str, str]:
    """The plus and the number of an option; both empty where it is not given."""
    if text is None:
        return "", ""
    match = pattern.fullmatch(text.strip())
    if match is None:
        raise ConfigError(f"{option}: must be {rule} (got {text!r}). E.g. {option} {example}.")
    return match[1], match[2]
