"""What a study keeps beside its trials: typed records under names that only this file knows.

They are attributes of the Optuna study, as plain JSON values. Their names and fields are those of
the first version, so that every study file can be read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from smt_nas.evaluators import Evaluation
from smt_nas.search.problem.objectives import BEFORE_DEVICES, LatencyTarget
from smt_nas.search.proposal.strategy import SurrogateAccuracy
from smt_nas.search.strategies import read_earlier_settings

_IDENTITY = "search"
_EXHAUSTED = "exhausted"
_JUDGED_AGAIN = "judged again"
_BASELINE = "baseline:"
_COUNTS = "proof:"
_TIMING = "latency:"
_KEY = 12  # characters of a network's key
_OPEN_ROUND = "finished of an open round"
_SURROGATE = "surrogate:"
_WORKER = "worker:"


class Timing(BaseModel):
    """What timing one network on one target gave.

    Attributes:
        latency_ms: median.
        spread_ms: interquartile range.
        samples: how many.
        status: how far to trust it, as in `Measurement`; `unknown` in studies that do not say.
        versus: its time as a share of that of the network it was timed in turns with.
        reference_ms: what that network took meanwhile; None in studies that do not say.
    """

    model_config = ConfigDict(frozen=True)

    latency_ms: float
    spread_ms: float
    samples: int
    status: str = "unknown"
    versus: float | None = None
    reference_ms: float | None = None

    def at_pace(self, reference_ms: float) -> Timing:
        """The same where the network beside it takes `reference_ms`."""
        if self.versus is None or self.reference_ms is None:
            return self
        spread_ms = self.spread_ms * reference_ms / self.reference_ms
        scaled = {"latency_ms": self.versus * reference_ms, "spread_ms": spread_ms}
        return self.model_copy(update=scaled)


class TimingFailure(BaseModel):
    """Why a network could not be timed on a target."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    reason: str = Field(validation_alias="failed", serialization_alias="failed")


class FinishedNetwork(BaseModel):
    """A network that is evaluated, of a round that is not: no trial yet, but worth showing.

    Attributes:
        genes: (G,).
        key: `Architecture.key`.
        evaluation: its record, as `Evaluation.to_record` makes it.
        predictions: value, low and high of each predicted metric, by its name.
    """

    model_config = ConfigDict(frozen=True)

    genes: tuple[int, ...]
    key: str
    evaluation: dict[str, Any]
    predictions: dict[str, tuple[float, float, float]]


class Heartbeat(BaseModel):
    """A sign of life of a process that works on a study with others.

    Attributes:
        count: grows while it lives; what a clock says does not matter.
        ended: it works no more.
        kernel: of which system, and which process namespace, `pid` is a number.
        pid: of the process.
    """

    model_config = ConfigDict(frozen=True)

    count: int
    ended: bool = False
    kernel: str | None = None
    pid: int = 0


class _Counts(BaseModel):
    model_config = ConfigDict(frozen=True, populate_by_name=True)

    op_counts: dict[str, int | None] = Field(
        validation_alias="witnesses", serialization_alias="witnesses"
    )
    failure: str | None = Field(validation_alias="reason", serialization_alias="reason")


@dataclass(frozen=True)
class Verification:
    """What verifying one network gave.

    Attributes:
        op_counts: MACs by op counter (`torch`, `fvcore` and so on); None where one cannot count it.
        failure: why the network failed; None where it did not.
        timings: by the text of their target.
        timing_failures: why it could not be timed, by the text of the target.
    """

    op_counts: Mapping[str, int | None]
    failure: str | None
    timings: Mapping[str, Timing] = field(default_factory=dict)
    timing_failures: Mapping[str, str] = field(default_factory=dict)

    def is_complete(self, targets: Sequence[LatencyTarget]) -> bool:
        """Whether its timing was tried on all targets."""
        return all(str(t) in self.timings or str(t) in self.timing_failures for t in targets)


class StudyNotes:
    """The notes of a study, read at one moment; what is written is stored at once.

    Args:
        attributes: of the study, as they are stored.
        store: keeps one attribute, by its name.
    """

    def __init__(self, attributes: Mapping[str, Any], store: Callable[[str, Any], None]) -> None:
        self._attributes = dict(attributes)
        self._store = store

    @property
    def identity(self) -> dict[str, Any]:
        """What the trials depend on, as plain values, by the names of today."""
        return read_earlier_settings(self._attributes.get(_IDENTITY) or {})

    def write_identity(self, identity: Mapping[str, Any]) -> None:
        """Replace what the trials depend on."""
        self._write(_IDENTITY, dict(identity))

    @property
    def exhausted(self) -> bool:
        """Whether the budget leaves no networks that were not tried."""
        return bool(self._attributes.get(_EXHAUSTED, False))

    def write_exhausted(self) -> None:
        """Note that no networks are left."""
        self._write(_EXHAUSTED, True)

    @property
    def is_judged_again(self) -> bool:
        """Whether it holds all trials of the study before its budgets were changed."""
        return bool(self._attributes.get(_JUDGED_AGAIN, False))

    def write_judged_again(self) -> None:
        """Note that all trials of before are there."""
        self._write(_JUDGED_AGAIN, True)

    def read_baseline(self, name: str) -> Evaluation | None:
        """What the evaluator said of a preset; None where it was not asked."""
        record = self._attributes.get(f"{_BASELINE}{name}")
        if record is None:
            return None
        if isinstance(record, dict):
            return Evaluation.from_record(record)
        return Evaluation(*record)  # the oldest studies hold value and provenance alone

    def write_baseline(self, name: str, evaluation: Evaluation) -> None:
        """Keep what the evaluator said of a preset."""
        self._write(f"{_BASELINE}{name}", evaluation.to_record())

    def read_open_round(self) -> list[FinishedNetwork]:
        """What was evaluated of a round that was stopped; its networks may be trials by now."""
        records = self._attributes.get(_OPEN_ROUND, [])
        return [FinishedNetwork.model_validate(record) for record in records]

    def write_open_round(self, networks: Sequence[FinishedNetwork]) -> None:
        """Replace what was evaluated of a round that was stopped."""
        self._write(_OPEN_ROUND, [network.model_dump(mode="json") for network in networks])

    @property
    def surrogate_accuracies(self) -> list[SurrogateAccuracy]:
        """How well the strategy's model foretold each round, in their order."""
        records = [v for name, v in self._attributes.items() if name.startswith(_SURROGATE)]
        accuracies = [SurrogateAccuracy.model_validate(record) for record in records]
        return sorted(accuracies, key=lambda accuracy: accuracy.first)

    def write_surrogate_accuracy(self, accuracy: SurrogateAccuracy) -> None:
        """Keep how well the strategy's model foretold a round."""
        self._write(f"{_SURROGATE}{accuracy.first}", accuracy.model_dump(mode="json"))

    def read_heartbeats(self) -> dict[str, Heartbeat]:
        """The last sign of life of each process that works on the study, by its name."""
        return {
            name.removeprefix(_WORKER): Heartbeat.model_validate(record)
            for name, record in self._attributes.items()
            if name.startswith(_WORKER)
        }

    def write_heartbeat(self, worker: str, heartbeat: Heartbeat) -> None:
        """Give a sign of life."""
        self._write(f"{_WORKER}{worker}", heartbeat.model_dump(mode="json"))

    def read_verification(
        self, key: str, targets: Sequence[LatencyTarget] = ()
    ) -> Verification | None:
        """What verifying a network gave, with its timings on targets; None before it was counted.

        Times are at the pace that the reference had when the machine was least busy, so that those
        of all networks compare.

        Args:
            key: of the network.
            targets: those whose timings are wanted.
        """
        record = self._attributes.get(f"{_COUNTS}{key}")
        if record is None:
            return None
        counts = _Counts.model_validate(record)
        timings, failures = {}, {}
        for target in targets:
            timing = self.read_timing(key, target)
            if isinstance(timing, Timing):
                paces = self.read_paces(target)
                timings[str(target)] = timing.at_pace(min(paces)) if paces else timing
            elif timing is not None:
                failures[str(target)] = timing.reason
        return Verification(counts.op_counts, counts.failure, timings, failures)

    def write_op_counts(
        self, key: str, op_counts: Mapping[str, int | None], failure: str | None
    ) -> None:
        """Keep what the op counters say of a network, or why it failed."""
        counts = _Counts(op_counts=dict(op_counts), failure=failure)
        self._write(f"{_COUNTS}{key}", counts.model_dump(mode="json", by_alias=True))

    def read_timing(self, key: str, target: LatencyTarget) -> Timing | TimingFailure | None:
        """A network's timing on a target; None before it was tried."""
        record = self._attributes.get(_name_timing(key, target))
        if record is None:
            return None
        kind = TimingFailure if "failed" in record else Timing
        return kind.model_validate(record)

    def read_paces(self, target: LatencyTarget) -> list[float]:
        """Milliseconds that the reference took beside each network timed on a target."""
        where = _name_timing("", target).removeprefix(_TIMING)
        records = [
            value
            for name, value in self._attributes.items()
            if name.startswith(_TIMING) and name.removeprefix(_TIMING)[_KEY:] == where
        ]
        return [r["reference_ms"] for r in records if r.get("reference_ms") is not None]

    def write_timing(self, key: str, target: LatencyTarget, timing: Timing | TimingFailure) -> None:
        """Keep a network's timing on a target."""
        record = timing.model_dump(mode="json", by_alias=True, exclude_unset=True)
        self._write(_name_timing(key, target), record)

    @property
    def failed_keys(self) -> frozenset[str]:
        """Keys of the networks that failed verification."""
        keys = [n.removeprefix(_COUNTS) for n in self._attributes if n.startswith(_COUNTS)]
        records = {key: _Counts.model_validate(self._attributes[f"{_COUNTS}{key}"]) for key in keys}
        return frozenset(key for key, counts in records.items() if counts.failure is not None)

    def copy_verifications(self, other: StudyNotes) -> None:
        """Keep all verifications in the notes of another study too: they are of no evaluator."""
        for name, value in self._attributes.items():
            if name.startswith((_COUNTS, _TIMING)):
                other._write(name, value)

    def copy_results(self, other: StudyNotes) -> None:
        """Keep all in the notes of another study too but what is of this one alone."""
        for name, value in self._attributes.items():
            of_one = (_IDENTITY, _EXHAUSTED, _OPEN_ROUND, _JUDGED_AGAIN)
            if name not in of_one and not name.startswith(_WORKER):
                other._write(name, value)

    def _write(self, name: str, value: Any) -> None:
        self._store(name, value)
        self._attributes[name] = value


def _name_timing(key: str, target: LatencyTarget) -> str:
    where = "" if target == BEFORE_DEVICES else f"@{target}"
    return f"{_TIMING}{key}{where}"
