"""ExecuTorch's programs (.pte), by its own runtime as Python has it."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import torch

from smt_nas.errors import MeasurementError
from smt_nas.runtime.backends.loaded_graph import Images, LoadedGraph, Logits
from smt_nas.runtime.imports import import_optional


def load_executorch(path: Path, threads: int | None, precision: str | None) -> LoadedGraph:
    """Load a program of one method, `forward`, of images (B, C, H, W).

    Args:
        path: the file.
        threads: are the runtime's own: its pool cannot be set from Python.
        precision: None or `fp32`: a program has its own.

    Raises:
        MeasurementError: executorch is not installed, or the program is of another kind.
    """
    way_out = "pip install 'smt-nas[executorch]'."
    runtime = import_optional("executorch.runtime", way_out, str(path)).Runtime.get()
    method = runtime.load_program(str(path)).load_method("forward")
    dims = tuple(method.metadata.input_tensor_meta(0).sizes())
    if method.metadata.num_inputs() != 1 or len(dims) != 4:
        raise MeasurementError(
            f"{path}: must take one input, images (B, C, H, W) (got {dims}). Name a network of "
            "images."
        )
    batch, channels, height, width = dims

    def call(images: Images) -> Logits:
        return method.execute([torch.from_numpy(images)])[0].numpy()  # type: ignore[no-any-return]

    return LoadedGraph(
        "executorch",
        metadata.version("executorch"),
        (batch, channels, height, width),
        "as the file says",
        call,
        note="It uses as many threads as its runtime takes.",
    )
