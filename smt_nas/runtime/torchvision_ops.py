"""The environment check for torchvision: its operators beside a torch it was not built for.

torchvision's wheel of the package index is built against a CUDA torch. Beside a CPU torch its
library `_C.so` cannot be loaded, and since 0.20 `import torchvision` (and with it `import timm`)
then fails: "operator torchvision::nms does not exist", because it describes that operator to the
compiler without asking whether it is there. Seen with torch 2.13.0+cpu and torchvision 0.28.0. The
cure of an installation is the torchvision of torch's own index; until a user does that, this check

- declares the two operators that the import describes, `nms` and `qnms`, `nms` with a kernel for
  the CPU in plain torch;
- once torchvision is imported, answers its question whether operators are there with yes.

Transforms, models, `ops.nms`, `ops.batched_nms`, `ops.roi_align` (its own fallback, slow) and timm
then work; `roi_pool`, `deform_conv2d` and `torchvision.io` do not. Where torchvision is whole, or
absent, nothing of this happens. `smt-nas doctor` says which it is.

Every door calls it: `import_torchvision` and `import_timm` for our own use, and
`user_code.watch_torchvision` for code of a user that may import either by itself.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import torch
from torch import Tensor

from smt_nas.errors import MeasurementError, one_line
from smt_nas.runtime.imports import missing_library

OpsState = Literal["absent", "whole", "declared"]
_NMS = "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_WAY_OUT = "`pip install 'smt-nas[train]'`."


@functools.cache
def check_torchvision() -> OpsState:
    """See to it that torchvision can be imported; milliseconds, as it is not imported here.

    Returns: `absent`: it is not installed; `whole`: its operators are there; `declared`: this torch
    does not load them, and those that its import needs were declared.
    """
    spec = importlib.util.find_spec("torchvision")
    if spec is None or not spec.submodule_search_locations:
        return "absent"
    library = next(Path(spec.submodule_search_locations[0]).glob("_C*.so"), None)
    if library is not None and _loads(library):
        return "whole"
    _declare_operators()
    return "declared"


def import_torchvision() -> ModuleType:
    """Import torchvision.

    Raises:
        MeasurementError: it is not installed, or does not fit this torch.
    """
    if check_torchvision() == "absent":
        raise missing_library("torchvision", _WAY_OUT)
    module = _import("torchvision")
    answer_for_operators()
    return module


def import_timm() -> ModuleType:
    """Import timm.

    Raises:
        MeasurementError: it, or torchvision which it needs, is not installed.
    """
    if importlib.util.find_spec("timm") is None:
        raise missing_library("timm", _WAY_OUT)
    import_torchvision()
    return _import("timm")


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
    library.impl("nms", _suppress_overlaps, "CPU")  # type: ignore[no-untyped-call]
    return library


def answer_for_operators() -> None:
    """torchvision asks before each use whether its library was loaded; the declared ones are."""
    extension: Any = sys.modules.get("torchvision.extension")
    if extension is not None and check_torchvision() == "declared":
        extension._has_ops = lambda: True


def _suppress_overlaps(dets: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Greedy non-maximum suppression, as `torchvision.ops.nms` documents it.

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


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (ImportError, RuntimeError) as error:
        raise MeasurementError(
            f"{name}: must fit torch {torch.__version__} (got: {_first_line(error)}). "
            f"Install both with {_WAY_OUT}"
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or one_line(error)
