"""Code of a user, named as `package.module:name`: the one door it comes in by.

A module is looked for as `python -m` does: in the working directory, then in what is installed.
What the code prints goes to stderr, as stdout is for results. It may import torchvision or timm by
itself, now or when it is called: `watch_torchvision` sees to it that their operators are there.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.machinery
import importlib.util
import logging
import os
import sys
import sysconfig
import traceback
from collections.abc import Iterator, Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from smt_nas.errors import ConfigError, did_you_mean, one_line
from smt_nas.files import working_directory

_LIBRARIES = ("stdlib", "platstdlib", "purelib", "platlib")


def import_attribute(spec: str, kind: str) -> Any:
    """Import what a user named.

    Args:
        spec: `package.module:name`, or `package.module:object.name`.
        kind: what it is for, for the message: `evaluator`, `network`.

    Raises:
        ConfigError: no such module or name, or a module that raises while it is imported.
    """
    module, _, path = spec.partition(":")
    names = path.split(".")
    if "" in (*module.split("."), *names):
        raise ConfigError(
            f"{kind} {spec}: must be package.module:function (got an empty part). "
            "Write e.g. mypkg.mymod:fn."
        )
    value, where = _import_user_module(module, spec, kind), module
    for name in names:
        if not hasattr(value, name):
            near = did_you_mean(name, dir(value)) or "Check the name."
            raise ConfigError(
                f"{kind} {spec}: {where} must hold {name} (got nothing of that name). {near}"
            )
        value, where = getattr(value, name), f"{where}.{name}"
    return value


@contextlib.contextmanager
def run_user_code(silent: bool = False) -> Iterator[None]:
    """While it lasts, code of a user runs as it expects: its imports work, and stdout is not its.

    Args:
        silent: what it prints or logs is dropped: a forward that is timed says the same a thousand
            times.
    """
    watch_torchvision()
    with contextlib.ExitStack() as stack:
        stack.enter_context(working_directory())
        sink = (
            stack.enter_context(open(os.devnull, "w", encoding="utf-8")) if silent else sys.stderr
        )
        stack.enter_context(contextlib.redirect_stdout(sink))
        if silent:
            stack.callback(logging.disable, logging.root.manager.disable)
            logging.disable(logging.CRITICAL)
        yield


def watch_torchvision() -> None:
    """From now on in this process, torchvision finds its operators, whoever imports it.

    Costs nothing until then: torch is not loaded for a user's function that needs none.
    """
    if not any(isinstance(finder, _TorchvisionFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _TorchvisionFinder())


class _TorchvisionFinder(MetaPathFinder):
    """Checks the operators of torchvision before it is imported, and answers for them after."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """torchvision as it is found without this, with the check around its import."""
        if fullname != "torchvision":
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.loader is None:
            return None
        _check_around(spec.loader)
        return spec


def _check_around(loader: Any) -> None:
    """Let a loader check the operators before it runs torchvision, and answer for them after."""
    run = loader.exec_module

    def check_and_run(module: ModuleType) -> None:
        from smt_nas.runtime.torchvision_ops import answer_for_operators, check_torchvision

        check_torchvision()
        run(module)
        answer_for_operators()

    loader.exec_module = check_and_run


def _import_user_module(module: str, spec: str, kind: str) -> Any:
    try:
        with run_user_code():
            return importlib.import_module(module)
    except (Exception, SystemExit) as error:  # an import runs the user's code
        if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}."):
            raise ConfigError(
                f"{kind} {spec}: must name a module that is in {os.getcwd()} or installed "
                f"(got none named {error.name}). Check the name, or start where it is."
            ) from error
        raise ConfigError(
            f"{kind} {spec}: {module} must be importable (got {one_line(error)}; "
            f"{_line_of(error)}). Mend that line."
        ) from error


def _line_of(error: BaseException) -> str:
    """`mymod.py line 3`: the innermost line of the user's own code, not of a library."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{Path(error.filename).name} line {error.lineno}"
    libraries = tuple(sysconfig.get_path(name) + os.sep for name in _LIBRARIES)
    frames = traceback.extract_tb(error.__traceback__)[1:]  # the first is ours
    own = [f for f in frames if not f.filename.startswith((*libraries, "<"))]
    last = (own or frames)[-1]
    return f"{Path(last.filename).name} line {last.lineno}"
