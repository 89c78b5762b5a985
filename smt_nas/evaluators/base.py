"""`Evaluator`: architectures in, `Evaluation`s out. Free of torch.

A failure is data: a network that cannot be built, or a score that is not a finite number, becomes
an `Evaluation` that says why, and the search goes on.
"""

from __future__ import annotations

import math
import reprlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from numbers import Real
from pathlib import Path
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from smt_nas.arch import Architecture
from smt_nas.errors import one_line
from smt_nas.evaluators.evidence import AnyEvidence
from smt_nas.evaluators.predictors.training_set import TrainingSet
from smt_nas.metrics import Metric, Provenance
from smt_nas.runtime.engines.engine_choice import Workers
from smt_nas.runtime.progress import ProgressListener
from smt_nas.space import Genes, SearchSpace

Figures = float | Mapping[str, float]
"""What a function returns of a network: a number, or a mapping that holds the objective."""
NORMAL_80 = 1.2815515655446004  # an 80 % interval is so many standard deviations to each side
NORMAL_95 = 1.959963984540054  # and one of 95 %
GAIN = "gain"  # component: points over what is published of a preset; GAIN_low, GAIN_high its ends
_STOPPED = "stopped"  # how the reasons of what was stopped begin in studies of before


class _NotFigures(ValueError):
    """What was returned is no number, and holds none."""


@dataclass(frozen=True)
class Evaluation:
    """What an evaluator says of one network.

    Attributes:
        value: figure of the evaluator's objective; None where it failed or was stopped.
        provenance: where `value` comes from.
        interval: low and high end of the value; None where it has none.
        components: parts of the figure, and figures beside it, by name.
        extrapolation: how far the network lies outside what the evaluator learnt from, in widths of
            that; None where it did not learn.
        relative: values order networks, and their level means nothing.
        by_lower_bound: networks are compared by the low end of the interval, not by the value.
        seconds: what it cost.
        failure: why there is no value; None where there is one.
        stopped: it was given up on purpose, rather than failed.
    """

    value: float | None
    provenance: Provenance
    interval: tuple[float, float] | None = None
    components: Mapping[str, float] = field(default_factory=dict)
    extrapolation: float | None = None
    relative: bool = False
    by_lower_bound: bool = False
    seconds: float = 0.0
    failure: str | None = None
    stopped: bool = False

    @property
    def compared(self) -> float | None:
        """The figure that networks are compared by."""
        return self.interval[0] if self.by_lower_bound and self.interval else self.value

    def to_columns(self) -> dict[str, float]:
        """Everything beside value and interval as plain numbers, by its name in front.csv."""
        extra = {} if self.extrapolation is None else {"outside": self.extrapolation}
        return {**self.components, **extra, **({"relative": 1.0} if self.relative else {})}

    def to_record(self) -> dict[str, Any]:
        """Plain values, as studies keep them."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Read `to_record`, or what was kept before evaluations had typed fields.

        Then one mapping of details held the interval as `low` and `high`, the extrapolation as
        `outside` and `relative` as a number, and a reason told by its first word who was stopped.
        What a user's own function returned under such names were figures of its own.
        """
        values = dict(record)
        if values.get("interval") is not None:
            values["interval"] = tuple(values["interval"])
        if "details" not in values:
            return cls(**values)
        details, failure = dict(values.pop("details")), values.pop("reason", None)
        if values["provenance"] == "predicted":
            if details.keys() >= {"low", "high"}:
                values["interval"] = (details.pop("low"), details.pop("high"))
            values["extrapolation"] = details.pop("outside", None)
            values["relative"] = bool(details.pop("relative", False))
        stopped = failure is not None and failure.startswith(_STOPPED)
        return cls(**values, components=details, failure=failure, stopped=stopped)


class Evaluator(Protocol):
    """Anything that evaluates networks by one metric."""

    @property
    def name(self) -> str:
        """Name in results, e.g. `zero-cost`."""

    @property
    def objective(self) -> Metric:
        """The metric that `Evaluation.value` is a figure of."""

    @property
    def fingerprint(self) -> str:
        """12 hex digits that change where what it says of networks changes; see `probes`."""

    @property
    def evidence(self) -> AnyEvidence:
        """What its figures rest on."""

    def evaluate(self, archs: Sequence[Architecture]) -> list[Evaluation]:
        """Evaluate networks, in order; of one that fails, the `Evaluation` says why."""


@dataclass(frozen=True)
class Estimate:
    """What an evaluator says of n networks at once.

    Attributes:
        mean: the figures, (n,).
        std: standard deviation of each, (n,); None where it is not known.
        by_lower_bound: as `Evaluation.by_lower_bound`.
    """

    mean: NDArray[np.float64]
    std: NDArray[np.float64] | None = None
    by_lower_bound: bool = False

    @property
    def compared(self) -> NDArray[np.float64]:
        """The figures that networks are compared by, (n,)."""
        if not self.by_lower_bound or self.std is None:
            return self.mean
        return np.asarray(self.mean - NORMAL_80 * self.std)


@runtime_checkable
class BatchEvaluator(Protocol):
    """An evaluator that takes gene arrays at once, so that a search can ask it of thousands."""

    @property
    def is_final(self) -> bool:
        """Whether `predict` gives the values of `evaluate`; else a guess at their order."""

    def predict(self, space: SearchSpace, genes: Genes) -> Estimate:
        """The figures of (n, G) genes."""


@runtime_checkable
class GeneEvaluator(Protocol):
    """An evaluator that rates many networks of a space at once, to the last bit as one by one."""

    def evaluate_genes(self, space: SearchSpace, genes: Genes) -> list[Evaluation]:
        """What `evaluate` says of the networks of (n, G) genes."""


@runtime_checkable
class Fittable(Protocol):
    """An evaluator that learns from networks that were trained."""

    def fit(self, training_set: TrainingSet) -> Evaluator:
        """The same, fitted to these networks instead of what it was fitted to."""


@runtime_checkable
class Composite(Protocol):
    """An evaluator whose figure is made of others that are worth judging alone.

    Attributes:
        judged_components: names of these, in `Evaluation.components`.
    """

    judged_components: tuple[str, ...]


@runtime_checkable
class TrainingEvaluator(Protocol):
    """An evaluator that trains: it compares the networks of a round, and keeps them in a folder.

    Attributes:
        baselines: names of the presets that are worth training beside them.
    """

    baselines: tuple[str, ...]

    def in_workdir(
        self, folder: Path, workers: Workers = None, listener: ProgressListener | None = None
    ) -> Evaluator:
        """The same, with its trainings in a folder, where a killed search finds them again.

        Args:
            folder: of the trainings.
            workers: processes that train, or the engine that does; None leaves it as it is.
            listener: hears how far it is; None leaves it as it is.
        """


@runtime_checkable
class RoundEvaluator(Protocol):
    """An evaluator that compares the networks of a round, and may be stopped amid it."""

    def read_finished(self, archs: Sequence[Architecture]) -> Mapping[str, Evaluation]:
        """Evaluations, by key, of those whose figure is there whatever becomes of the others."""


@runtime_checkable
class Stoppable(Protocol):
    """An evaluator that takes many networks at once, and may be told to begin no more of them."""

    def begun_while(self, proceed: Callable[[], bool]) -> Evaluator:
        """The same, which raises KeyboardInterrupt in place of what it is not to begin.

        Args:
            proceed: asked before each; once it says no, those that run are finished.
        """


@runtime_checkable
class NetworkBound(Protocol):
    """An evaluator that cannot evaluate every network."""

    def holds(self, arch: Architecture) -> bool:
        """Whether it can evaluate a network."""


@runtime_checkable
class SpaceBound(Protocol):
    """An evaluator that cannot evaluate the networks of every space."""

    def check_space(self, space: SearchSpace) -> None:
        """Raise ConfigError where the networks of a space are not for it."""


@runtime_checkable
class InputBound(Protocol):
    """An evaluator whose figure, or whose way to it, depends on the images of a space."""

    def for_space(self, space: SearchSpace) -> Evaluator:
        """The one that rates networks of a space by what suits its images; itself if it does."""


def call_guarded(evaluate: Callable[[], Evaluation], provenance: Provenance) -> Evaluation:
    """Call `evaluate`, and time it; a failure of any kind becomes an `Evaluation` that says why."""
    start = time.perf_counter()
    try:
        evaluation = evaluate()
    except (Exception, SystemExit) as error:  # whatever a user's function does is one failed trial
        failure = str(error) if isinstance(error, _NotFigures) else one_line(error)
        seconds = time.perf_counter() - start
        return Evaluation(None, provenance, seconds=seconds, failure=failure)
    return replace(evaluation, seconds=time.perf_counter() - start)


def share_seconds(evaluate: Callable[[], list[Evaluation]]) -> list[Evaluation]:
    """Call what evaluates many at once, and time it; each took an equal part."""
    start = time.perf_counter()
    evaluations = evaluate()
    seconds = (time.perf_counter() - start) / max(len(evaluations), 1)
    return [replace(evaluation, seconds=seconds) for evaluation in evaluations]


def keep_finite(evaluation: Evaluation, objective: Metric) -> Evaluation:
    """The evaluation without numbers that are none; it failed where its value is one of them.

    NaN is neither better nor worse than any figure, so that one network of it would be a front.
    """
    value = evaluation.value
    if value is not None and not math.isfinite(value):
        failure = f"{objective.name} must be a finite number (got {value})"
        return replace(evaluation, value=None, interval=None, components={}, failure=failure)
    interval, components = evaluation.interval, evaluation.components
    outside = evaluation.extrapolation
    return replace(
        evaluation,
        interval=interval if interval and all(map(math.isfinite, interval)) else None,
        extrapolation=None if outside is None or not math.isfinite(outside) else outside,
        components={name: v for name, v in components.items() if math.isfinite(v)},
    )


def read_figures(figures: Figures, objective: Metric, provenance: Provenance) -> Evaluation:
    """An `Evaluation` of a number, or of a mapping, whose other entries become components.

    Raises:
        ValueError: it is no finite number, or holds none of the objective's name.
    """
    if not isinstance(figures, Mapping):
        return Evaluation(_finite(objective.name, figures), provenance)
    for word in figures:
        if not isinstance(word, str):
            raise _NotFigures(f"names of metrics must be words (got {reprlib.repr(word)})")
    if objective.name not in figures:
        got = ", ".join(figures) or "nothing"
        raise _NotFigures(f"must return {objective.name!r} (got {got})")
    numbers = {name: _finite(name, value) for name, value in figures.items()}
    return Evaluation(numbers.pop(objective.name), provenance, components=numbers)


def _finite(name: str, value: Any) -> float:
    """A finite number; one of NumPy's or torch's too, but no array of them."""
    scalar = value.item() if getattr(value, "shape", None) == () else value
    if isinstance(scalar, bool) or not isinstance(scalar, Real) or not math.isfinite(scalar):
        raise _NotFigures(f"{name} must be a finite number (got {reprlib.repr(scalar)})")
    return float(scalar)
