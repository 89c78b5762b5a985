"""Stand-ins for the `pynvml` module: an honest one, and ones that fail as real drivers do.

`FakeNvml()` is an honest A100; each `GpuState` is what one GPU answers, and may be changed while a
test runs. Pass it as `nvml=` to what opens GPUs:

    nvml = FakeNvml()                       # honest
    FakeNvml(GpuState(), GpuState())        # two GPUs
    lying(), mig_slice(), without_counters(), dying(after=10), without_driver(), without_gpu()
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

from smt_nas.devices import identity

BOARDS = {  # by name: CUDA cores, compute capability, whole memory in bytes
    "NVIDIA A100-SXM4-80GB": (6912, (8, 0), 85 * 10**9),
    "NVIDIA A100-SXM4-40GB": (6912, (8, 0), 42_500_000_000),
    "Tesla T4": (2560, (7, 5), 16_100_000_000),
    "NVIDIA L4": (7680, (8, 9), 24_150_000_000),
    "NVIDIA GeForce RTX 4090": (16384, (8, 9), 25_750_000_000),
}
NOT_SUPPORTED, UNKNOWN, LOST, NO_LIBRARY, MISMATCH = 3, 999, 15, 12, 18


class NVMLError(Exception):
    """As pynvml's: `value` is the number the driver returned."""

    def __init__(self, value, text="an error of the driver"):
        super().__init__(text)
        self.value = value


@dataclass
class GpuState:
    """What one GPU answers; None raises "not supported", an exception is raised.

    What is not said of its cores, its capability and its memory is that of the board of its name.
    """

    name: object = "NVIDIA A100-SXM4-80GB"
    uuid: object = "GPU-2600e701-8d2f-704c-06bd-ca16a9306dfe"
    mig: object = field(default_factory=lambda: [0, 0])
    clocks: dict = field(default_factory=lambda: {1: 1410, 2: 1593})
    max_clocks: dict = field(default_factory=lambda: {1: 1410, 2: 1593})
    power_mw: object = 250_000
    limit_mw: object = 400_000
    celsius: object = 55
    reasons: object = 0
    energy_mj: object = 1_000_000
    energy_step_mj: int = 30_000  # what the counter grows by at each query
    bus_bits: object = 5120
    cores: object = ...
    capability: object = ...
    memory: object = ...
    processes: object = ()
    dies_after: int | None = None  # queries until it falls off the bus

    def __post_init__(self):
        cores, capability, total = BOARDS.get(self.name, BOARDS["NVIDIA A100-SXM4-80GB"])
        self.cores = cores if self.cores is ... else self.cores
        self.capability = capability if self.capability is ... else self.capability
        if self.memory is ...:
            self.memory = SimpleNamespace(used=10**9, total=total)


class FakeNvml:
    """Has the functions of `pynvml` that smt-nas asks."""

    NVMLError = NVMLError

    def __init__(self, *states, driver="580.65.06", init_error=None):
        self.states = list(states) if states else [GpuState()]
        self.driver, self.init_error, self.calls = driver, init_error, 0

    def nvmlInit(self):
        if self.init_error is not None:
            raise self.init_error

    def nvmlSystemGetDriverVersion(self):
        return self.driver

    def nvmlDeviceGetCount(self):
        return len(self.states)

    def nvmlDeviceGetHandleByIndex(self, index):
        state = self.states[index]
        if state.dies_after is not None and state.dies_after <= 0:
            raise NVMLError(LOST, "GPU is lost")
        return state

    def _answer(self, state, value):
        self.calls += 1
        if state.dies_after is not None:
            state.dies_after -= 1
            if state.dies_after < 0:
                raise NVMLError(LOST, "GPU is lost")
        if value is None:
            raise NVMLError(NOT_SUPPORTED, "Not Supported")
        if isinstance(value, Exception):
            raise value
        return value

    def nvmlDeviceGetName(self, state):
        return self._answer(state, state.name)

    def nvmlDeviceGetUUID(self, state):
        return self._answer(state, state.uuid)

    def nvmlDeviceGetMigMode(self, state):
        return self._answer(state, state.mig)

    def nvmlDeviceGetClockInfo(self, state, clock):
        return self._answer(state, state.clocks.get(clock))

    def nvmlDeviceGetMaxClockInfo(self, state, clock):
        return self._answer(state, state.max_clocks.get(clock))

    def nvmlDeviceGetPowerUsage(self, state):
        return self._answer(state, state.power_mw)

    def nvmlDeviceGetEnforcedPowerLimit(self, state):
        return self._answer(state, state.limit_mw)

    def nvmlDeviceGetTemperature(self, state, sensor):
        assert sensor == 0
        return self._answer(state, state.celsius)

    def nvmlDeviceGetCurrentClocksEventReasons(self, state):
        return self._answer(state, state.reasons)

    def nvmlDeviceGetTotalEnergyConsumption(self, state):
        value = self._answer(state, state.energy_mj)
        state.energy_mj += state.energy_step_mj
        return value

    def nvmlDeviceGetMemoryInfo(self, state):
        return self._answer(state, state.memory)

    def nvmlDeviceGetMemoryBusWidth(self, state):
        return self._answer(state, state.bus_bits)

    def nvmlDeviceGetNumGpuCores(self, state):
        return self._answer(state, state.cores)

    def nvmlDeviceGetCudaComputeCapability(self, state):
        return self._answer(state, state.capability)

    def nvmlDeviceGetComputeRunningProcesses(self, state):
        value = self._answer(state, state.processes)
        return [SimpleNamespace(pid=pid) for pid in value]

    def nvmlDeviceGetGraphicsRunningProcesses(self, state):
        return self._answer(state, [])


def board(name, sheet, **more):
    """A GPU of this name that says of itself what a sheet says of it."""
    chips = identity.CAPABILITIES.items()
    capability = next((v for chip, v in chips if chip in sheet.architecture), None)
    per_sm = 64 if capability in ((7, 0), (7, 5), (8, 0)) else 128
    memory = SimpleNamespace(used=10**9, total=int(sheet.memory_gb * 1e9))
    cores = sheet.sms * per_sm if capability else None  # NVML tells nothing of other makers'
    facts = {"cores": cores, "capability": capability, "memory": memory}
    return GpuState(name=name, **facts | more)


def lying():
    """Answers everything, with nonsense: clocks above the highest, no watt, a frozen counter."""
    return FakeNvml(
        GpuState(
            clocks={1: 99_999, 2: -5},
            power_mw=0,
            celsius=4_000,
            reasons=-1,
            energy_mj=0,
            energy_step_mj=0,
            memory=SimpleNamespace(used=2 * 10**9, total=10**9),
        )
    )


def frozen():
    """All is well but for the energy counter, which never moves."""
    return FakeNvml(GpuState(energy_step_mj=0))


def dying(after=12):
    """Honest for `after` queries, then off the bus."""
    return FakeNvml(GpuState(dies_after=after))


def without_counters():
    """Knows its name and little else, as GPUs passed through to a virtual machine do."""
    return FakeNvml(
        GpuState(
            clocks={},
            max_clocks={},
            power_mw=None,
            limit_mw=None,
            celsius=None,
            reasons=None,
            energy_mj=None,
            bus_bits=None,
            cores=None,
            capability=None,
            memory=None,
            processes=None,
        )
    )


def without_driver():
    """No driver: the library does not load."""
    return FakeNvml(init_error=NVMLError(NO_LIBRARY, "NVML Shared Library Not Found"))


def mismatched():
    """The driver was updated and not loaded again: the library is newer than the kernel's part."""
    return FakeNvml(init_error=NVMLError(MISMATCH, "Driver/library version mismatch"))


def without_gpu():
    """A driver that sees no GPU."""
    nvml = FakeNvml()
    nvml.states = []
    return nvml


def mig_slice():
    """A slice of an A100: the library tells of the whole GPU, without energy."""
    return FakeNvml(GpuState(mig=[1, 1], energy_mj=None, power_mw=None))


def throttled(reasons=0x4, mhz=1005):
    """Held back by its power cap."""
    return FakeNvml(GpuState(clocks={1: mhz, 2: 1593}, reasons=reasons, power_mw=400_000))
