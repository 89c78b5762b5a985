"""Files of plots: a page (plotly) or a picture (matplotlib), by their suffix."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from smt_nas.errors import ConfigError
from smt_nas.files import check_writable
from smt_nas.runtime.imports import import_optional

_KINDS = (".html", ".png")


def check_drawable(path: Path | None) -> None:
    """Find out before long work that a plot could not be drawn.

    Raises:
        ConfigError: another kind of file.
        StoreError: it could not be written.
        MeasurementError: the library is not installed.
    """
    if path is None:
        return
    if path.suffix not in _KINDS:
        raise ConfigError(f"--plot {path}: must end in {' or '.join(_KINDS)}. Name it so.")
    check_writable(path, "--plot")
    import_plot_library("plotly.graph_objects" if path.suffix == ".html" else "matplotlib.figure")


def import_plot_library(name: str) -> ModuleType:
    """Import plotly or matplotlib. Raises MeasurementError: it is not installed."""
    return import_optional(name, "`pip install 'smt-nas[report]'`, or use --json.", where="--plot")
