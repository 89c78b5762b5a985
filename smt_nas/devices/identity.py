"""Whether a GPU is the one of a sheet: not by its name alone.

Jetson Orin Nano, NX and AGX all call themselves `Orin (nvgpu)`; boards are sold under one name with
unlike chips and memory. What a GPU says of its multiprocessors, its memory and its compute
capability must not contradict the sheet. What it does not say contradicts nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from smt_nas.devices.names import DeviceName
from smt_nas.devices.sheet import Sheet
from smt_nas.runtime.nvml import Gpu

_MEMORY_SLACK = 0.12
"""Boards are sold in GB of 2^30 bytes, some of which ECC and the driver keep: a T4 of 16 GB tells
16.1e9 bytes, a V100 16.9e9, an H200 of 141 GB 150.8e9."""
CAPABILITIES = {  # chip -> compute capability, https://developer.nvidia.com/cuda-gpus
    "GV100": (7, 0),
    "TU104": (7, 5),
    "GA100": (8, 0),
    **dict.fromkeys(("GA102", "GA104", "GA106"), (8, 6)),
    "GA10B": (8, 7),
    **dict.fromkeys(("AD102", "AD103", "AD104", "AD106", "AD107"), (8, 9)),
    "GH100": (9, 0),
    "GB100": (10, 0),
    **dict.fromkeys(("GB202", "GB203", "GB205", "GB206"), (12, 0)),
}


@dataclass(frozen=True)
class BoardFacts:
    """What a GPU says of itself; None where it does not.

    Attributes:
        sms: multiprocessors.
        memory_gb: 10^9 bytes.
        capability: compute capability, e.g. (8, 0).
    """

    sms: int | None = None
    memory_gb: float | None = None
    capability: tuple[int, int] | None = None

    @classmethod
    def of_gpu(cls, gpu: Gpu) -> BoardFacts:
        """By NVML."""
        memory = gpu.memory_mb()
        gb = None if memory is None else memory[1] / 1e3
        return cls(gpu.sms(), gb, gpu.capability())


def list_contradictions(sheet: Sheet, facts: BoardFacts) -> list[str]:
    """What a GPU says of itself that its sheet says otherwise, in words; empty where all agrees."""
    return list(_contradict(sheet, facts))


def _contradict(sheet: Sheet, facts: BoardFacts) -> Iterator[str]:
    if facts.sms is not None and sheet.sms is not None and facts.sms != sheet.sms:
        yield f"{facts.sms} SMs, not {sheet.sms}"
    sizes = read_memory_sizes(sheet)
    if facts.memory_gb is not None and sizes:
        near = min(sizes, key=lambda size: abs(size - (facts.memory_gb or 0)))
        if abs(facts.memory_gb / near - 1) > _MEMORY_SLACK:
            yield f"{facts.memory_gb:.1f} GB, not {' or '.join(f'{s:g}' for s in sorted(sizes))}"
    chip = CAPABILITIES.get((sheet.architecture or "").rpartition(" ")[2])
    if facts.capability is not None and chip is not None and facts.capability != chip:
        said, known = (".".join(map(str, version)) for version in (facts.capability, chip))
        yield f"compute capability {said}, not {known}"


def read_memory_sizes(sheet: Sheet) -> set[float]:
    """GB that the device is sold with; names under which it reports itself may tell others."""
    named = {DeviceName.parse(name).memory_gb for name in sheet.reported}
    return {float(size) for size in (*named, sheet.memory_gb) if size is not None}


def is_same_board(one: Sheet, other: Sheet) -> bool:
    """Whether two sheets of one reported name can be of the same board."""
    return not list_contradictions(one, BoardFacts(other.sms, other.memory_gb))
