"""Your own function as an evaluator, by its name: `mypkg.mymod:fn`."""

from __future__ import annotations

from collections.abc import Callable

from smt_nas.arch import Architecture
from smt_nas.errors import ConfigError
from smt_nas.evaluators.base import FunctionEvaluator, Returned
from smt_nas.runtime.imports import import_attribute


class NamedFunction(FunctionEvaluator):
    """Rates networks by a function that can be imported, here or in another process.

    Args:
        name: `package.module:function`; `module:object.method` works too.

    Raises:
        ConfigError: no such module or function, or one that cannot be imported or called.
    """

    def __init__(self, name: str) -> None:
        super().__init__(_load_function(name), name=name)

    @property
    def evidence(self) -> str:
        """How well it orders networks, in one line."""
        way_out = f"`smt-nas validate {self.name} --on smt-bench-mini` finds out."
        return f"{super().evidence} {way_out}"


def _load_function(name: str) -> Callable[[Architecture], Returned]:
    function = import_attribute(name, "evaluator")
    if not callable(function):
        raise ConfigError(
            f"evaluator {name}: must be a function (got {type(function).__name__}). "
            f"Write `def {name.rpartition(':')[2].rpartition('.')[2]}(arch): ...`."
        )
    rate: Callable[[Architecture], Returned] = function
    return rate
