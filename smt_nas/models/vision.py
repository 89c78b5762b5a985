"""timm and torchvision, imported where a network or a transform of theirs is asked for.

torchvision's wheel is built against a CUDA torch. Beside a CPU torch its operators cannot be
loaded, and then its import fails on the first one it describes. Here the two that everything else
hangs on are declared before it is imported, non-maximum suppression with a kernel of our own:
transforms, models and timm then work. Beside a torch that it fits, nothing of this happens.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from smt_nas.errors import MeasurementError

_NMS = "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


@functools.cache
def torchvision() -> ModuleType:
    """Import torchvision.

    Raises:
        MeasurementError: it is not installed, or does not fit this torch.
    """
    spec = importlib.util.find_spec("torchvision")
    if spec is None or not spec.submodule_search_locations:
        raise _missing("torchvision")
    library = next(Path(spec.submodule_search_locations[0]).glob("_C*.so"), None)
    if library is not None and _loads(library):
        return _imported("torchvision")
    _declare_operators()
    module = _imported("torchvision")
    extension: Any = importlib.import_module("torchvision.extension")
    extension._has_ops = lambda: True  # it asks before each use of an operator
    return module


@functools.cache
def timm() -> ModuleType:
    """Import timm.

    Raises:
        MeasurementError: it, or torchvision which it needs, is not installed.
    """
    if importlib.util.find_spec("timm") is None:
        raise _missing("timm")
    torchvision()
    return _imported("timm")


def _loads(library: Path) -> bool:
    try:
        torch.ops.load_library(str(library))  # type: ignore[no-untyped-call]
    except (OSError, RuntimeError):
        return False
    return True


@functools.cache
def _declare_operators() -> torch.library.Library:
    """Declare what torchvision's import needs; kept, as a dropped library undoes itself."""
    library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    library.define(_NMS)  # type: ignore[no-untyped-call]
    library.define(f"q{_NMS}")  # type: ignore[no-untyped-call]
    library.impl("nms", _nms, "CPU")  # type: ignore[no-untyped-call]
    return library


def _nms(dets: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Greedy non-maximum suppression.

    Args:
        dets: boxes (n, 4) as x1, y1, x2, y2.
        scores: (n,).
        iou_threshold: a box that overlaps a better one by more is dropped.

    Returns: indices of the boxes kept, best first.
    """
    order = scores.argsort(descending=True, stable=True)
    boxes = dets[order]
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    alive = torch.ones(len(order), dtype=torch.bool)
    for i in range(len(order)):
        if not alive[i]:
            continue
        low = torch.maximum(boxes[i, :2], boxes[i + 1 :, :2])
        high = torch.minimum(boxes[i, 2:], boxes[i + 1 :, 2:])
        overlap = (high - low).clamp(min=0).prod(dim=1)  # (n - i - 1,)
        union = areas[i] + areas[i + 1 :] - overlap
        alive[i + 1 :] &= overlap <= iou_threshold * union
    return order[alive]


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (ImportError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise MeasurementError(
            f"{name}: must fit torch {torch.__version__} (got: {reason}). "
            "Install both with `pip install 'smt-nas[train]'`."
        ) from error


def _missing(name: str) -> MeasurementError:
    return MeasurementError(
        f"{name}: must be installed for this (got none). `pip install 'smt-nas[train]'`."
    )
