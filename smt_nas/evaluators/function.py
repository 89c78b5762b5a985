"""Your own function as an evaluator, by its name: `mypkg.mymod:fn`, architecture in, figures out.

The module is looked for as `python -m` does: in the working directory, then in what is installed.
What it prints while it is imported goes to stderr.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import sysconfig
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from smt_nas.arch import Architecture
from smt_nas.errors import ConfigError, did_you_mean, one_line
from smt_nas.evaluators.base import FunctionEvaluator, Returned
from smt_nas.files import working_directory

_LIBRARIES = ("stdlib", "platstdlib", "purelib", "platlib")


class NamedFunction(FunctionEvaluator):
    """Rates networks by a function that can be imported, here or in another process.

    Args:
        name: `package.module:function`; `module:object.method` works too.

    Raises:
        ConfigError: no such module or function, or one that cannot be imported or called.
    """

    def __init__(self, name: str) -> None:
        super().__init__(_loaded(name), name=name)

    @property
    def evidence(self) -> str:
        """How well it orders networks, in one line."""
        way_out = f"`smt-nas validate {self.name} --on smt-bench-mini` finds out."
        return f"{super().evidence} {way_out}"


def _loaded(name: str) -> Callable[[Architecture], Returned]:
    module, _, attribute = name.partition(":")
    parts = attribute.split(".")
    if "" in (*module.split("."), *parts):
        raise ConfigError(
            f"evaluator {name}: must be package.module:function (got an empty part). "
            "Write e.g. mypkg.mymod:fn."
        )
    found, where = _imported(name, module), module
    for part in parts:
        if not hasattr(found, part):
            near = did_you_mean(part, dir(found)) or "Check the name."
            raise ConfigError(
                f"evaluator {name}: {where} must hold {part} (got nothing of that name). {near}"
            )
        found, where = getattr(found, part), f"{where}.{part}"
    if not callable(found):
        raise ConfigError(
            f"evaluator {name}: must be a function (got {type(found).__name__}). "
            f"Write `def {parts[-1]}(arch): ...`."
        )
    function: Callable[[Architecture], Returned] = found
    return function


def _imported(name: str, module: str) -> Any:
    try:
        with working_directory(), contextlib.redirect_stdout(sys.stderr):
            return importlib.import_module(module)
    except (Exception, SystemExit) as error:  # an import runs the user's code
        if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}."):
            raise ConfigError(
                f"evaluator {name}: must name a module that is in {os.getcwd()} or installed "
                f"(got none named {error.name}). Check the name, or start where it is."
            ) from error
        raise ConfigError(
            f"evaluator {name}: {module} must be importable (got {one_line(error)}; "
            f"{_line(error)}). Mend that line."
        ) from error


def _line(error: BaseException) -> str:
    """`mymod.py line 3`: the innermost line of the user's own code, not of a library."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{Path(error.filename).name} line {error.lineno}"
    libraries = tuple(sysconfig.get_path(name) + os.sep for name in _LIBRARIES)
    frames = traceback.extract_tb(error.__traceback__)[1:]  # the first is ours
    own = [f for f in frames if not f.filename.startswith((*libraries, "<"))]
    last = (own or frames)[-1]
    return f"{Path(last.filename).name} line {last.lineno}"
