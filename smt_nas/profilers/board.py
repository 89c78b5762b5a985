"""Whether the GPU that torch runs on is the one of a sheet, by what torch says of it.

NVML counts by the bus, CUDA puts unlike GPUs the fastest first: `cuda:0` of the one may be another
card than that of the other. Figures of a wrong card would be called those of the sheet.
"""

from __future__ import annotations

import torch

from smt_nas.devices.identity import BoardFacts, list_contradictions
from smt_nas.devices.sheet import Sheet
from smt_nas.errors import MeasurementError


def check_board(sheet: Sheet, device: torch.device) -> None:
    """Compare a GPU with its sheet.

    Raises:
        MeasurementError: it has other multiprocessors, memory or another compute capability.
    """
    if device.type != "cuda":
        return
    properties = torch.cuda.get_device_properties(device)
    facts = BoardFacts(
        properties.multi_processor_count,
        properties.total_memory / 1e9,
        (properties.major, properties.minor),
    )
    contradictions = list_contradictions(sheet, facts)
    if contradictions:
        raise MeasurementError(
            f"{device}: must be the {sheet.name} of sheet {sheet.key} (got {properties.name}: "
            f"{', '.join(contradictions)}). Set CUDA_DEVICE_ORDER=PCI_BUS_ID where GPUs are "
            "unlike, or name the device it is."
        )
