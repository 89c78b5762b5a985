"""Which GPUs CUDA shows a process, and under which numbers: `CUDA_VISIBLE_DEVICES`.

    0,2                        indices
    GPU-2600e701,GPU-8d2f      beginnings of UUIDs, as `nvidia-smi -L` tells them
    MIG-41b36ccb-…             a slice of a GPU (multi-instance GPU); also MIG-GPU-<uuid>/1/0

The rules are those of torch's own reading (`torch.cuda._parse_visible_devices`): CUDA heeds nothing
behind a word that it does not know, and nothing at all where one is named twice.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any

from smt_nas.errors import MeasurementError
from smt_nas.runtime.nvml import Gpu, Unavailable, list_gpus, open_gpu

VISIBLE, ORDER, BY_BUS = "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "PCI_BUS_ID"
_GPU, _SLICE = "GPU-", "MIG-"
_INDEX = re.compile(r"\+?([0-9]+)")  # what follows the digits is passed over, as strtoul does


def list_cuda_gpus(*, nvml: Any = None) -> dict[str, Gpu]:
    """GPUs by the name torch gives them; slices are no GPUs.

    CUDA puts unlike GPUs the fastest first unless `CUDA_DEVICE_ORDER=PCI_BUS_ID`; NVML always goes
    by the bus, and so does this. What is measured is looked at again, by torch.
    """
    every, wanted = list_gpus(nvml=nvml), os.environ.get(VISIBLE)
    shown = every if wanted is None else _read_visible(wanted, every)
    return {f"cuda:{i}": gpu for i, gpu in enumerate(shown)}


def is_order_unsure(*, nvml: Any = None) -> bool:
    """Whether CUDA may number this machine's GPUs otherwise: unlike ones, counted by the bus."""
    if os.environ.get(ORDER) == BY_BUS or os.environ.get(VISIBLE, "").strip().startswith(_GPU):
        return False
    every = list_gpus(nvml=nvml)
    return len({gpu.name for gpu in every}) > 1 and bool(list_cuda_gpus(nvml=nvml))


def find_cuda_gpu(device: str, *, nvml: Any = None) -> Gpu:
    """The whole GPU that torch calls `device`, e.g. `cuda:1`.

    Raises:
        MeasurementError: there is none, it is hidden, or it is a share of one.
    """
    gpu = list_cuda_gpus(nvml=nvml).get(device)
    if gpu is not None and not gpu.mig:
        return gpu
    part = read_visible_slice()
    if gpu is not None or part is not None:
        name = part if gpu is None else gpu.name
        raise MeasurementError(
            f"device {device}: a slice of a GPU (MIG) is not predicted from the whole card (got "
            f"{name}), as others use the rest. Use a GPU that is not cut."
        )
    opened = open_gpu(int(device.removeprefix("cuda:")), nvml=nvml)
    hidden = f"{VISIBLE} hides it."
    reason = opened.reason if isinstance(opened, Unavailable) else hidden
    raise MeasurementError(f"device {device}: {reason}")


def read_visible_slice() -> str | None:
    """The slice (MIG) that the variable names, as CUDA then shows nothing else; None elsewhere."""
    named = os.environ.get(VISIBLE, "").split(",")[0].strip()
    return named if named.startswith(_SLICE) else None


def _read_visible(text: str, every: Sequence[Gpu]) -> list[Gpu]:
    """The GPUs that the variable shows, in its order."""
    words = [word.strip() for word in text.split(",")]
    find = _find_by_uuid if words[0].startswith(_GPU) else _find_by_index
    shown = list[Gpu]()
    for word in words:
        gpu = find(word, every)
        if gpu is None:
            break
        if gpu in shown:
            return []
        shown.append(gpu)
    return shown


def _find_by_uuid(word: str, every: Sequence[Gpu]) -> Gpu | None:
    """The one GPU whose UUID begins so; none where two do."""
    if not word.startswith(_GPU) or word == _GPU:
        return None
    named = [gpu for gpu in every if gpu.uuid is not None and gpu.uuid.startswith(word)]
    return named[0] if len(named) == 1 else None


def _find_by_index(word: str, every: Sequence[Gpu]) -> Gpu | None:
    number = _INDEX.match(word)
    index = None if number is None else int(number[1])
    return next((gpu for gpu in every if gpu.index == index), None)
