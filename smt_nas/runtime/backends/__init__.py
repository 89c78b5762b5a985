"""Deployed files and the runtimes that run them: BACKENDS, by the suffix of the file.

Runtimes are imported when a file is loaded; none is part of the core.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from smt_nas.errors import MeasurementError, SmtNasError, one_line
from smt_nas.runtime.backends.executorch_runtime import load_executorch
from smt_nas.runtime.backends.litert_runtime import load_litert
from smt_nas.runtime.backends.loaded_graph import LoadedGraph
from smt_nas.runtime.backends.onnx_runtime import load_onnx
from smt_nas.runtime.backends.openvino_runtime import load_openvino
from smt_nas.runtime.backends.torch_program import load_torch_program
from smt_nas.runtime.imports import quiet_libraries


@dataclass(frozen=True)
class Backend:
    """A row of BACKENDS.

    Attributes:
        load: a file, with a number of threads and a precision.
        precisions: that it can be told to compute in.
        sets_threads: it takes the number of threads it is told; else it has its own.
    """

    load: Callable[[Path, int | None, str | None], LoadedGraph]
    precisions: tuple[str, ...] = ("fp32",)
    sets_threads: bool = True


BACKENDS: dict[str, Backend] = {
    ".onnx": Backend(load_onnx),
    ".xml": Backend(load_openvino, precisions=("fp32", "bf16")),
    ".pt2": Backend(load_torch_program),
    ".pte": Backend(load_executorch, sets_threads=False),
    ".tflite": Backend(load_litert),
}

__all__ = ["BACKENDS", "Backend", "LoadedGraph", "find_backend", "load_graph"]


def find_backend(path: Path) -> Backend | None:
    """The runtime of a file, or of a folder with a model of OpenVINO; None of any other."""
    if path.is_dir() and any(path.glob("*.xml")):
        return BACKENDS[".xml"]
    return BACKENDS.get(path.suffix)


def load_graph(path: Path, threads: int | None = None, precision: str | None = None) -> LoadedGraph:
    """Load a deployed file.

    Args:
        path: file or folder.
        threads: of the CPU; None for what its runtime takes by itself.
        precision: to compute in; None for what its runtime does by itself.

    Raises:
        MeasurementError: no runtime runs it, its runtime is not installed, cannot be told this
            precision, or cannot load it.
    """
    backend = find_backend(path)
    if backend is None:
        raise MeasurementError(
            f"{path}: must end in {', '.join(BACKENDS)}, or be a folder with a model of OpenVINO "
            f"(got {path.suffix or 'none of these'}). Export it in one of these formats."
        )
    if not path.exists():
        raise MeasurementError(f"{path}: cannot be read (got no such file). Check the path.")
    if precision is not None and precision not in backend.precisions:
        raise MeasurementError(
            f"{path}: --precision must be {' or '.join(backend.precisions)} for such a file (got "
            f"{precision}). Export it in that precision instead."
        )
    try:
        with quiet_libraries():
            return backend.load(path, threads, precision)
    except SmtNasError:
        raise
    except Exception as error:  # runtimes have errors of their own
        raise MeasurementError(
            f"{path}: cannot be loaded (got {one_line(error)}). It is damaged or of another "
            "version: export it again."
        ) from error
