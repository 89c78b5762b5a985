"""`Evaluator`: architectures in, `Evaluation`s out. Free of torch.

A failure is data: a network that cannot be built, or a score that is not a finite number, becomes
an `Evaluation` with a reason, and the search goes on.
"""

from __future__ import annotations

import math
import reprlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from numbers import Real
from pathlib import Path
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from smt_nas.arch import Architecture
from smt_nas.errors import one_line
from smt_nas.metrics import Metric, Provenance, metric
from smt_nas.nasbench.table import Bench
from smt_nas.space import Genes, SearchSpace

Returned = float | Mapping[str, float]
STOPPED = "stopped"  # of reasons


class _Unfit(ValueError):
    """What was returned is no rating."""


@dataclass(frozen=True)
class Evaluation:
    """What an evaluator says of one network.

    Attributes:
        value: figure of the evaluator's objective; None where it failed.
        provenance: where `value` comes from.
        details: parts of the figure, for the record.
        seconds: what it cost.
        reason: why it failed; None where it did not. One that begins with STOPPED says why the
            network was not rated to the end.
    """

    value: float | None
    provenance: Provenance
    details: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    reason: str | None = None

    @property
    def stopped(self) -> bool:
        """Whether it was given up on purpose, rather than failed."""
        return self.reason is not None and self.reason.startswith(STOPPED)


class Evaluator(Protocol):
    """Anything that rates networks by one metric."""

    @property
    def name(self) -> str:
        """Name in results, e.g. `zero-cost`."""

    @property
    def objective(self) -> Metric:
        """The metric that `Evaluation.value` is a figure of."""

    @property
    def evidence(self) -> str:
        """What a figure is and what it rests on, in one line."""

    def evaluate(self, archs: Sequence[Architecture]) -> list[Evaluation]:
        """Rate networks, in order; a network that fails gives an `Evaluation` with a reason."""


@runtime_checkable
class Trains(Protocol):
    """An evaluator that trains: it compares the networks of a round, and keeps them in a folder.

    Attributes:
        baselines: names of the presets that are worth training beside them.
    """

    baselines: tuple[str, ...]

    def within(self, folder: Path) -> Evaluator:
        """The same, with its trainings in a folder, where a killed search finds them again."""


@runtime_checkable
class Foresees(Protocol):
    """An evaluator that rates gene arrays at once, so that a search can ask it of thousands."""

    @property
    def exact(self) -> bool:
        """Whether `figures` are the values of `evaluate`; else a guess at their order."""

    def figures(self, space: SearchSpace, genes: Genes) -> NDArray[np.float64]:
        """Rate (n, G) genes, (n,)."""


def attempt(rate: Callable[[], Returned], objective: Metric, provenance: Provenance) -> Evaluation:
    """Call `rate`; turn its number, its mapping, or its failure into an `Evaluation`.

    A mapping must hold the objective's name; the other entries become details.
    """
    start = time.perf_counter()
    try:
        value, details = _read(rate(), objective)
    except (Exception, SystemExit) as error:  # whatever a user's function does is one failed trial
        reason = str(error) if isinstance(error, _Unfit) else one_line(error)
        return Evaluation(None, provenance, {}, time.perf_counter() - start, reason)
    return Evaluation(value, provenance, details, time.perf_counter() - start)


def _read(returned: Returned, objective: Metric) -> tuple[float, dict[str, float]]:
    if not isinstance(returned, Mapping):
        return _number(objective.name, returned), {}
    for word in returned:
        if not isinstance(word, str):
            raise _Unfit(f"names of metrics must be words (got {reprlib.repr(word)})")
    if objective.name not in returned:
        raise _Unfit(f"must return {objective.name!r} (got {', '.join(returned) or 'nothing'})")
    numbers = {name: _number(name, value) for name, value in returned.items()}
    return numbers.pop(objective.name), numbers


def _number(name: str, value: Any) -> float:
    """A finite number; one of NumPy's or torch's too, but no array of them."""
    scalar = value.item() if getattr(value, "shape", None) == () else value
    if isinstance(scalar, bool) or not isinstance(scalar, Real) or not math.isfinite(scalar):
        raise _Unfit(f"{name} must be a finite number (got {reprlib.repr(scalar)})")
    return float(scalar)


class FunctionEvaluator:
    """Rates networks by a user's function.

        FunctionEvaluator(lambda arch: my_training_pipeline(arch), objective="score")

    Args:
        function: architecture in; a number, or a mapping that holds the objective, out.
        objective: name in METRICS.
        name: name in results.
        provenance: where the function's numbers come from.
    """

    def __init__(
        self,
        function: Callable[[Architecture], Returned],
        objective: str = "score",
        name: str = "function",
        provenance: Provenance = "function",
    ) -> None:
        self.name = name
        self.objective = metric(objective)
        self._function = function
        self._provenance = provenance

    @property
    def evidence(self) -> str:
        """How well it orders networks, in one line."""
        return f"{self.name}: your own function; nothing is known of how well it orders networks."

    def evaluate(self, archs: Sequence[Architecture]) -> list[Evaluation]:
        """Call the function on each architecture; an exception is a failed evaluation."""
        return [
            attempt(partial(self._function, arch), self.objective, self._provenance)
            for arch in archs
        ]


class ReplayEvaluator:
    """Rates networks by looking their key up in a table, e.g. a benchmark's.

    Args:
        table: figure, or mapping that holds the objective, by `Architecture.key`.
        objective: name in METRICS.
        provenance: where the table's numbers came from.
    """

    name = "replay"

    def __init__(
        self,
        table: Mapping[str, Returned],
        objective: str = "score",
        provenance: Provenance = "function",
    ) -> None:
        self.objective = metric(objective)
        self._table = table
        self._provenance = provenance

    @classmethod
    def of_bench(cls, bench: Bench) -> Self:
        """The trainings of a bench: a problem on which searches cost nothing."""
        table = {key: {"val_top1": bench.top1(key)} for key in bench.networks}
        return cls(table, "val_top1", "trained")

    @property
    def evidence(self) -> str:
        """What the figures rest on, in one line."""
        return f"replay: {len(self._table)} networks of a table"

    def evaluate(self, archs: Sequence[Architecture]) -> list[Evaluation]:
        """Look each key up; one that is not there is a failed evaluation."""
        return [
            attempt(partial(self._look_up, arch), self.objective, self._provenance)
            for arch in archs
        ]

    def _look_up(self, arch: Architecture) -> Returned:
        if arch.key not in self._table:
            raise LookupError(f"no entry for {arch.key} in the table")
        return self._table[arch.key]
