"""What NVIDIA's management library says of a GPU: clocks, power, temperature, throttling, energy.

A query that fails, or that answers nonsense, gives None: "unknown", never "fine". Nothing here
raises. Constants: https://docs.nvidia.com/deploy/nvml-api/
"""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeGuard

from smt_nas.fingerprint import fingerprint

REASONS = {  # clock event reasons that hold a GPU back; others (idle, set clocks) do not
    0x4: "sw-power-cap",
    0x8: "hw-slowdown",
    0x20: "sw-thermal",
    0x40: "hw-thermal",
    0x80: "hw-power-brake",
}
_SM, _MEMORY = 1, 2  # nvmlClockType_t
_CORE_TEMPERATURE = 0  # nvmlTemperatureSensors_t
_LOST = 15  # nvmlReturn_t: GPU is lost
RELOAD = "The driver was updated while the old one was loaded: reload it, or reboot."
_INSTALL = "Install the NVIDIA driver."
_WAYS_OUT = {  # nvmlReturn_t -> what helps where the library does not start
    4: "Ask for access to /dev/nvidia*.",
    9: "Load the NVIDIA driver (`modprobe nvidia`), or reboot.",
    _LOST: "Reset the GPU, or reboot.",
    18: RELOAD,
}
_CORES_PER_SM = {(7, 0): 64, (7, 5): 64, (8, 0): 64}  # by compute capability; 128 since 8.6
_SLACK = 1.05  # a clock may stand this far above its maximum before it counts as nonsense


@dataclass(frozen=True)
class Unavailable:
    """Stands where an instrument would; `reason` is one sentence for the user."""

    reason: str


@dataclass(frozen=True)
class GpuSample:
    """State of a GPU at one moment; None where it is not known.

    Attributes:
        time_s: of `time.perf_counter`.
        sm_mhz, mem_mhz: clocks.
        power_w, temperature_c: of the board, and of the chip.
        reasons: what holds the clocks back, names of `REASONS`; empty where nothing does.
        doubts: answers that cannot be true, told as words and given as None.
        lost: the GPU has fallen off the bus; it answers nothing any more.
    """

    time_s: float
    sm_mhz: float | None
    mem_mhz: float | None
    power_w: float | None
    temperature_c: float | None
    reasons: tuple[str, ...] | None
    doubts: tuple[str, ...] = ()
    lost: bool = False


class Gpu:
    """One GPU. Made by `open_gpu`; asks the library anew at each call.

    Attributes:
        library: the `pynvml` module it was opened with.
        index: as the library counts, which is by PCI bus.
        name, driver: as the library tells them.
        uuid: of the device; never written down, unlike
        uuid_hash: 12 hex digits that tell GPUs apart without naming one.
        mig: it is cut into slices (multi-instance GPU), or is one: a job has a share of it, and
            its counters are not one job's own.
        max_sm_mhz, max_mem_mhz: highest clocks.
        lost: it has fallen off the bus.
    """

    def __init__(self, library: Any, handle: Any, index: int) -> None:
        self.library, self._handle = library, handle
        self.index = index
        self.lost = False
        self.name = _as_text(self._ask("nvmlDeviceGetName"))
        self.driver = _as_text(_call(library, "nvmlSystemGetDriverVersion"))
        self.uuid = _as_text(self._ask("nvmlDeviceGetUUID"))
        self.uuid_hash = fingerprint(self.uuid) if self.uuid else None
        mode = self._ask("nvmlDeviceGetMigMode")
        is_cut = bool(mode[0]) if isinstance(mode, list | tuple) and mode else False
        self.mig = is_cut or "MIG" in (self.name or "").split()
        self.max_sm_mhz = _as_positive(self._ask("nvmlDeviceGetMaxClockInfo", _SM))
        self.max_mem_mhz = _as_positive(self._ask("nvmlDeviceGetMaxClockInfo", _MEMORY))

    def sample(self) -> GpuSample:
        """Clocks, power, temperature and throttle reasons, now."""
        now, doubts = time.perf_counter(), list[str]()

        def within(what: str, value: Any, high: float) -> float | None:
            if value is None:
                return None
            if _is_number(value) and 0 < value <= high:
                return float(value)
            doubts.append(f"{what} of {value!r}")
            return None

        top_sm, top_mem = self.max_sm_mhz or 10_000, self.max_mem_mhz or 50_000
        milliwatts = self._ask("nvmlDeviceGetPowerUsage")
        power = within("power in mW", milliwatts, 5e6)
        sm = within("SM MHz", self._ask("nvmlDeviceGetClockInfo", _SM), top_sm * _SLACK)
        mem = within("memory MHz", self._ask("nvmlDeviceGetClockInfo", _MEMORY), top_mem * _SLACK)
        celsius = within("°C", self._ask("nvmlDeviceGetTemperature", _CORE_TEMPERATURE), 150)
        reasons = self._reasons(doubts)
        return GpuSample(
            now,
            sm,
            mem,
            None if power is None else power / 1e3,
            celsius,
            reasons,
            tuple(doubts),
            self.lost,
        )

    def energy_mj(self) -> float | None:
        """Millijoules since the driver was loaded (Volta and later).

        The counter moves about every 100 ms: read it over windows of 2 s and more, and believe no
        window in which it did not move.
        """
        value = self._ask("nvmlDeviceGetTotalEnergyConsumption")
        return float(value) if _is_number(value) and value > 0 else None

    def memory_mb(self) -> tuple[float, float] | None:
        """Used and whole memory, in 10^6 bytes."""
        info = self._ask("nvmlDeviceGetMemoryInfo")
        used, total = (getattr(info, field, None) for field in ("used", "total"))
        if not (_is_number(used) and _is_number(total)):
            return None
        return (used / 1e6, total / 1e6) if 0 <= used <= total else None

    def power_limit_w(self) -> float | None:
        """The limit in force, which an administrator may have lowered."""
        value = _as_positive(self._ask("nvmlDeviceGetEnforcedPowerLimit"))
        return None if value is None else value / 1e3

    def other_processes(self) -> tuple[int, ...] | None:
        """Process ids with work on this GPU, without our own.

        In a container the library may tell ids of the host, among which ours is not found.
        """
        pids: set[int] = set()
        for query in ("Compute", "Graphics"):
            running = self._ask(f"nvmlDeviceGet{query}RunningProcesses")
            if running is None:
                return None
            pids |= {p.pid for p in running}
        return tuple(sorted(pids - {os.getpid()}))

    def bandwidth_gbps(self) -> float | None:
        """Peak of the memory: bus width x highest clock, two transfers a clock."""
        bits = _as_positive(self._ask("nvmlDeviceGetMemoryBusWidth"))
        if bits is None or self.max_mem_mhz is None:
            return None
        return bits / 8 * self.max_mem_mhz * 2 / 1e3

    def capability(self) -> tuple[int, int] | None:
        """Compute capability, e.g. (8, 0)."""
        version = self._ask("nvmlDeviceGetCudaComputeCapability")
        if not (isinstance(version, list | tuple) and len(version) == 2):
            return None
        return (int(version[0]), int(version[1]))

    def sms(self) -> int | None:
        """Streaming multiprocessors: CUDA cores over those of one."""
        cores, capability = _as_positive(self._ask("nvmlDeviceGetNumGpuCores")), self.capability()
        if cores is None or capability is None or capability < (7, 0):
            return None
        return int(cores) // _CORES_PER_SM.get(capability, 128) or None

    def _reasons(self, doubts: list[str]) -> tuple[str, ...] | None:
        bits = self._ask("nvmlDeviceGetCurrentClocksEventReasons")
        if bits is None:  # drivers before 535 know it by its old name
            bits = self._ask("nvmlDeviceGetCurrentClocksThrottleReasons")
        if bits is None:
            return None
        if not isinstance(bits, int) or not 0 <= bits < 1 << 16:
            doubts.append(f"clock event reasons of {bits!r}")
            return None
        return tuple(name for bit, name in REASONS.items() if bits & bit)

    def _ask(self, function: str, *args: Any) -> Any:
        if self.lost:
            return None
        return _call(self.library, function, self._handle, *args, on_lost=self._fall)

    def _fall(self) -> None:
        self.lost = True


def open_gpu(index: int = 0, *, uuid: str | None = None, nvml: Any = None) -> Gpu | Unavailable:
    """Open one GPU, or say why there is none.

    Args:
        index: of the GPU, as the library counts.
        uuid: of the GPU instead, as torch tells it; sure where CUDA counts in another order.
        nvml: stands for the `pynvml` module.
    """
    library = _load_library(nvml)
    if isinstance(library, Unavailable):
        return library
    count = _count_gpus(library)
    if isinstance(count, Unavailable):
        return count
    if uuid is not None:
        wanted = uuid.lower().removeprefix("gpu-")
        for gpu in _open_each(library, count):
            if gpu.uuid is not None and gpu.uuid.lower().removeprefix("gpu-") == wanted:
                return gpu
        if count > 1:  # of one GPU it can only be that: slices have UUIDs of their own
            return Unavailable(f"NVML knows no GPU of UUID {uuid}.")
    if not 0 <= index < count:
        known = "cuda:0" if count == 1 else f"cuda:0 to cuda:{count - 1}"
        return Unavailable(f"there is no GPU {index} here. Use {known}.")
    handle = _call(library, "nvmlDeviceGetHandleByIndex", index)
    if handle is None:
        return Unavailable(f"the driver does not open GPU {index}: it may have fallen off the bus.")
    return Gpu(library, handle, index)


def list_gpus(*, nvml: Any = None) -> list[Gpu]:
    """Every GPU that opens; none where there is no driver."""
    library = _load_library(nvml)
    count = library if isinstance(library, Unavailable) else _count_gpus(library)
    return [] if isinstance(count, Unavailable) else list(_open_each(library, count))


def _open_each(library: Any, count: int) -> Iterator[Gpu]:
    for index in range(count):
        handle = _call(library, "nvmlDeviceGetHandleByIndex", index)
        if handle is not None:
            yield Gpu(library, handle, index)


def _load_library(nvml: Any) -> Any:
    """The library, initialised, or `Unavailable`."""
    if nvml is None:
        try:
            nvml = importlib.import_module("pynvml")
        except ImportError:
            return Unavailable("nvidia-ml-py is not installed. `pip install nvidia-ml-py`.")
    try:
        nvml.nvmlInit()
    except Exception as error:  # of whatever kind: without it nothing can be asked
        way = _WAYS_OUT.get(getattr(error, "value", None) or 0, _INSTALL)
        return Unavailable(f"NVML does not start ({_describe_error(error)}). {way}")
    return nvml


def _count_gpus(library: Any) -> int | Unavailable:
    count = _call(library, "nvmlDeviceGetCount")
    if count is None:
        return Unavailable("NVML does not say how many GPUs there are. Reload the NVIDIA driver.")
    return int(count) or Unavailable("the NVIDIA driver is there, but sees no GPU.")


def _call(
    library: Any, function: str, *args: Any, on_lost: Callable[[], None] | None = None
) -> Any:
    """Ask the library; None where it cannot say."""
    try:
        return getattr(library, function)(*args)
    except Exception as error:  # NVML errors, old libraries, undecodable answers: all "unknown"
        if on_lost is not None and getattr(error, "value", None) == _LOST:
            on_lost()
        return None


def _as_text(value: Any) -> str | None:
    if isinstance(value, bytes):  # of old versions of the library
        value = value.decode("utf-8", "replace")
    return value if isinstance(value, str) and value else None


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value


def _as_positive(value: Any) -> float | None:
    return float(value) if _is_number(value) and value > 0 else None


def _describe_error(error: Exception) -> str:
    return str(error) or type(error).__name__
