"""Importing what may not be there: extras, with a hint where one is not installed."""

from __future__ import annotations

import importlib
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from types import ModuleType

from smt_nas.errors import MeasurementError, SmtNasError


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


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Keep to themselves what libraries warn of and log: it is not for users of this one."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def import_nni(module: str = "nni", where: str = "") -> ModuleType:
    """Import a module of nni 3, and keep its log from standard output.

    Its modules for architecture search load pytorch_lightning's evaluators, unless nni is told
    first that there is no framework; that is said here where lightning is not installed.

    Raises:
        MeasurementError: nni 3 is not installed.
    """
    way_out = "pip install 'smt-nas[nni]'"
    with quiet_libraries():  # of torch's classes that are younger than nni
        nni = import_optional("nni", way_out, where)
        if find_spec("pytorch_lightning") is None:
            nni.set_default_framework("none")
        nni.silence_stdout()
        return import_optional(module, way_out, where, "nni>=3.0")
