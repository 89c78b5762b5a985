"""Networks evaluated by a user's function, or by a table.

A function is handed in by a program (`FunctionEvaluator`), or named: `mypkg.mymod:fn`, architecture
in, figures out (`NamedFunction`). The module of a name is looked for as `python -m` does: in the
working directory, then in what is installed. What it prints while it is imported goes to stderr.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Self

from smt_nas.arch import Architecture
from smt_nas.errors import ConfigError
from smt_nas.evaluators.base import Evaluation, Figures, call_guarded, read_figures
from smt_nas.evaluators.evaluator_fingerprint import fingerprint_of_values
from smt_nas.evaluators.evidence import AnyEvidence, FunctionEvidence, TableEvidence
from smt_nas.fingerprint import fingerprint
from smt_nas.metrics import Provenance, metric
from smt_nas.nasbench.table import Bench
from smt_nas.runtime.user_code import import_attribute, run_user_code


class FunctionEvaluator:
    """Evaluates networks by a user's function.

        FunctionEvaluator(lambda arch: my_training_pipeline(arch), objective="score")

    Args:
        function: architecture in; a number, or a mapping that holds the objective, out.
        objective: name in METRICS.
        name: name in results.
        provenance: where the function's numbers come from.
        version: change it where the function says something else of a network; a search of before
            is then resumed only with its trials evaluated again.
    """

    def __init__(
        self,
        function: Callable[[Architecture], Figures],
        objective: str = "score",
        name: str = "function",
        provenance: Provenance = "function",
        version: str = "",
    ) -> None:
        self.name = name
        self.objective = metric(objective)
        self._function = function
        self._provenance = provenance
        self._version = version

    @property
    def fingerprint(self) -> str:
        """Of name, objective and version: of a function that is handed in nothing else is told."""
        values = {"objective": self.objective.name, "version": self._version}
        return fingerprint_of_values(self.name, values)

    @property
    def evidence(self) -> AnyEvidence:
        """It is the user's."""
        return FunctionEvidence(evaluator=self.name)

    def evaluate(self, archs: Sequence[Architecture]) -> list[Evaluation]:
        """Call the function on each architecture; an exception is a failed evaluation."""
        return [call_guarded(partial(self._call, arch), self._provenance) for arch in archs]

    def _call(self, arch: Architecture) -> Evaluation:
        return read_figures(self._function(arch), self.objective, self._provenance)


class NamedFunction(FunctionEvaluator):
    """Evaluates networks by a function that can be imported, here or in another process.

    Args:
        target: `package.module:function`; `module:object.method` works too.

    Raises:
        ConfigError: no such module or function, or one that cannot be imported or called.
    """

    def __init__(self, target: str) -> None:
        super().__init__(_load_function(target), name=target)
        self._file = _digest_file(target.partition(":")[0])

    def _call(self, arch: Architecture) -> Evaluation:
        with run_user_code():
            return super()._call(arch)

    @property
    def fingerprint(self) -> str:
        """Of its name and of the file of its module; what that imports is not looked at."""
        return fingerprint_of_values(self.name, {"file": self._file})

    @property
    def evidence(self) -> AnyEvidence:
        """It is the user's, and can be validated."""
        return FunctionEvidence(evaluator=self.name, importable=True)


class ReplayEvaluator(FunctionEvaluator):
    """Evaluates networks by looking their key up in a table, e.g. a benchmark's.

    Args:
        table: figure, or mapping that holds the objective, by `Architecture.key`.
        objective: name in METRICS.
        provenance: where the table's numbers came from.
    """

    def __init__(
        self,
        table: Mapping[str, Figures],
        objective: str = "score",
        provenance: Provenance = "function",
    ) -> None:
        super().__init__(self._look_up, objective, "replay", provenance)
        self._table = table

    @classmethod
    def of_bench(cls, bench: Bench) -> Self:
        """The trainings of a bench: a problem on which searches cost nothing."""
        table = {key: {"val_top1": bench.top1(key)} for key in bench.networks}
        return cls(table, "val_top1", "trained")

    @cached_property
    def fingerprint(self) -> str:
        """Of the table."""
        rows = {key: dict(f) if isinstance(f, Mapping) else f for key, f in self._table.items()}
        return fingerprint_of_values(self.name, {"objective": self.objective.name, "table": rows})

    @property
    def evidence(self) -> AnyEvidence:
        """The table."""
        return TableEvidence(evaluator=self.name, networks=len(self._table))

    def _look_up(self, arch: Architecture) -> Figures:
        if arch.key not in self._table:
            raise LookupError(f"no entry for {arch.key} in the table")
        return self._table[arch.key]


def _load_function(target: str) -> Callable[[Architecture], Figures]:
    value = import_attribute(target, "evaluator")
    if not callable(value):
        raise ConfigError(
            f"evaluator {target}: must be a function (got {type(value).__name__}). "
            f"Write `def {target.rpartition(':')[2].rpartition('.')[2]}(arch): ...`."
        )
    function: Callable[[Architecture], Figures] = value
    return function


def _digest_file(module: str) -> str:
    """Of the file that a module was imported from; of nothing where it has none."""
    file = getattr(sys.modules.get(module), "__file__", None)
    return fingerprint(Path(file).read_bytes() if file and Path(file).is_file() else b"")
