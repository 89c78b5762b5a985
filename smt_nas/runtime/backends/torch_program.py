"""Files of torch: programs of torch.export, and packages that AOTInductor compiled.

Both are zip files called .pt2. A package holds native code, and a program's shapes and guards are
text that torch evaluates: load those of people you trust. Nothing is unpickled all the same. A
package looks at no shape, so what it takes is kept in its metadata (see `export.graphs`).
"""

from __future__ import annotations

import json
import logging
import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from smt_nas.errors import MeasurementError
from smt_nas.runtime.backends.loaded_graph import Images, LoadedGraph, Logits, Shape

_WEIGHTS_ONLY = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
"""torch's own switch: torch.load then takes tensors alone, whatever its caller asks for."""
_PICKLED = ("custom_obj_", "opaque_obj_")  # constants that are no tensors
SHAPE_KEY = "smt_nas.shape"
"""In a package's metadata: (B, C, H, W) as JSON, null where any number is taken."""


def load_torch_program(path: Path, threads: int | None, precision: str | None) -> LoadedGraph:
    """Load a .pt2 file.

    Args:
        path: the file.
        threads: are torch's own, set around each call.
        precision: None or `fp32`: such a file has its own.

    Raises:
        MeasurementError: it is no such file, or holds pickled objects.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile as error:
        raise MeasurementError(
            f"{path}: must be a .pt2 file of torch (got other bytes). Restore it from a copy."
        ) from error
    if any("/aotinductor/" in name for name in names):
        return _load_package(path)
    pickled = next((name for name in names if any(word in name for word in _PICKLED)), None)
    if pickled is not None:
        raise MeasurementError(
            f"{path}: must hold tensors alone (got {pickled}, which is pickled). Export it again "
            "without objects of its own."
        )
    return _load_program(path)


def _load_program(path: Path) -> LoadedGraph:
    with _tensors_alone():
        program = torch.export.load(path)
    name = program.graph_signature.user_inputs[0]
    (node,) = [n for n in program.graph.nodes if n.name == name]
    shape = tuple(n if isinstance(n, int) else None for n in node.meta["val"].shape)
    return _wrap("torch.export", path, shape, program.module())


def _load_package(path: Path) -> LoadedGraph:
    before = logging.root.level
    try:
        package = torch._inductor.aoti_load_package(str(path))
    finally:
        logging.root.setLevel(before)
    shape = package.loader.get_metadata().get(SHAPE_KEY)
    dims = (None,) * 4 if shape is None else tuple(json.loads(shape))
    return _wrap("aotinductor", path, dims, package)


@contextmanager
def _tensors_alone() -> Iterator[None]:
    """Let torch.load refuse all that is no tensor."""
    before = os.environ.get(_WEIGHTS_ONLY)
    os.environ[_WEIGHTS_ONLY] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_WEIGHTS_ONLY]
        else:
            os.environ[_WEIGHTS_ONLY] = before


def _wrap(
    backend: str, path: Path, dims: tuple[Any, ...], forward: Callable[[Tensor], Any]
) -> LoadedGraph:
    if len(dims) != 4:
        raise MeasurementError(
            f"{path}: must take images (B, C, H, W) (got an input of {len(dims)} axes). Name a "
            "network of images."
        )
    shape: Shape = dims

    def call(images: Images) -> Logits:
        with torch.inference_mode():
            logits = forward(torch.from_numpy(images))
            first = logits if isinstance(logits, Tensor) else logits[0]
            return first.numpy()

    return LoadedGraph(backend, str(torch.__version__), shape, "as the file says", call)
