"""How much memory is left on this machine. 1 MB = 1e6 bytes.

Linux grants more than there is and ends processes later, so what cannot fit is refused before.
"""

from __future__ import annotations

from pathlib import Path

import torch

from smt_nas import costs
from smt_nas.devices.conditions import Conditions
from smt_nas.errors import MeasurementError
from smt_nas.profilers.networks import Network

MAX_SHARE = 0.9  # of the memory that is left, which a batch may take


class DoesNotFit(MeasurementError):
    """The device's memory does not hold the network at this batch."""


def check_room(network: Network, conditions: Conditions, device: torch.device) -> None:
    """Refuse what a CPU's memory surely does not hold: the images, and an SMT's activations.

    Raises:
        DoesNotFit: with both figures.
    """
    free = available_mb() if device.type == "cpu" else None
    if free is None:
        return
    size = conditions.image_size or network.image_size
    halved = conditions.precision in ("fp16", "bf16")
    needed = 4 * network.channels * size**2 / 1e6
    if network.arch is not None:
        arch = network.arch.model_copy(update={"image_size": size})
        needed += costs.of(arch).peak_activation_mb
    needed *= conditions.batch / (2 if halved else 1)
    if needed > MAX_SHARE * free:
        raise DoesNotFit(f"needs {needed:.0f} MB or more, and {free:.0f} MB are free")


def available_mb(root: Path = Path("/")) -> float | None:
    """Memory that this process may still take: of the machine, and of its container."""
    machine = field_mb(root / "proc/meminfo", "MemAvailable")
    container = _of_container_mb(root / "sys/fs/cgroup")
    return min((mb for mb in (machine, container) if mb is not None), default=None)


def _of_container_mb(cgroup: Path) -> float | None:
    """What is left of a cgroup's limit (version 2); cached files count as free."""
    try:
        limit, used = ((cgroup / f"memory.{n}").read_text().strip() for n in ("max", "current"))
        lines = (cgroup / "memory.stat").read_text().splitlines()
    except OSError:
        return None
    if not limit.isdecimal():  # "max": there is none
        return None
    cached = sum(int(n) for k, n in map(str.split, lines) if k in ("inactive_file", "active_file"))
    return max(int(limit) - int(used) + cached, 0) / 1e6


def field_mb(path: Path, field: str) -> float | None:
    """A line `field: n kB` of a file below /proc."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    words = next((line.split() for line in lines if line.startswith(f"{field}:")), [])
    return int(words[1]) * 1024 / 1e6 if len(words) > 1 else None
