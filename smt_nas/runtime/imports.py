"""Importing what may not be there: extras, and what a user names as `package.module:name`.

A user's module is looked for as `python -m` does: in the working directory, then in what is
installed. What it prints while it is imported goes to stderr.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import sysconfig
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from smt_nas.errors import ConfigError, MeasurementError, SmtNasError, did_you_mean, one_line
from smt_nas.files import working_directory

_LIBRARIES = ("stdlib", "platstdlib", "purelib", "platlib")


def import_optional(
    module: str,
    way_out: str,
    where: str = "",
    package: str = "",
    error: type[SmtNasError] = MeasurementError,
) -> ModuleType:
    """Import a library that need not be installed.

    Args:
        module: what to import, e.g. `plotly.graph_objects`.
        way_out: how to get it, or how to do without it, one sentence.
        where: who needs it, e.g. `--html`.
        package: how it is called; the module's first word by default.
        error: what is raised.

    Raises:
        SmtNasError: of the kind asked for; it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as cause:
        raise missing_library(package or module.partition(".")[0], way_out, where, error) from cause


def missing_library(
    package: str, way_out: str, where: str = "", error: type[SmtNasError] = MeasurementError
) -> SmtNasError:
    """The error of `import_optional`, where a library is looked for in another way."""
    subject = f"{where}: {package}" if where else f"{package}:"
    return error(f"{subject} must be installed for this (got none). {way_out}")


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


def _import_user_module(module: str, spec: str, kind: str) -> Any:
    try:
        with working_directory(), contextlib.redirect_stdout(sys.stderr):
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
