"""A machine as `smt_nas.runtime.host` sees it: what psutil tells, and files below a root."""

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import psutil

from smt_nas.runtime import host

CPU = """processor\t: {i}
vendor_id\t: AuthenticAMD
cpu family\t: 25
model\t\t: 1
model name\t: AMD EPYC
cpu MHz\t\t: 2445.406
flags\t\t: fpu sse2 avx fma avx2
"""


@dataclass
class Process:
    """CPU seconds of one process, and of its children that ended."""

    seconds: float = 0.0
    ended: float = 0.0
    cpus: int = 2
    below: list = field(default_factory=list)

    def cpu_affinity(self):
        return list(range(self.cpus))

    def children(self, recursive):
        return self.below

    def cpu_times(self):
        return SimpleNamespace(
            user=self.seconds, system=0.0, children_user=self.ended, children_system=0.0
        )


@dataclass
class FakePsutil:
    """What psutil tells of a machine; None is raised as psutil raises what it cannot tell."""

    cpus: int = 2
    busy: float | None = 0.0
    steal: float | None = 0.0
    mhz: float | None = 2445.406
    highest_mhz: float = 0.0
    load: float | None = 0.5
    processes: dict = field(default_factory=lambda: {None: Process()})  # by id; None: ours
    Error = psutil.Error

    def cpu_count(self):
        return self.cpus

    def cpu_times(self):
        _told(self.busy)
        steal = {} if self.steal is None else {"steal": self.steal}
        return SimpleNamespace(user=self.busy, nice=0.0, system=0.0, idle=99.0, **steal)

    def cpu_freq(self, percpu=False):
        if self.mhz is None:
            return [] if percpu else None
        clock = SimpleNamespace(current=self.mhz, max=self.highest_mhz)
        return [clock] * self.cpus if percpu else clock

    def getloadavg(self):
        return (_told(self.load), 0.2, 0.1)

    def Process(self, pid=None):
        if pid not in self.processes:
            raise psutil.NoSuchProcess(pid)
        process = self.processes[pid]
        if process is None:
            raise psutil.AccessDenied(pid)
        process.cpus = self.cpus
        return process


def _told(value):
    if value is None:
        raise NotImplementedError
    return value


def install(monkeypatch, **told):
    """Let `smt_nas.runtime.host` ask a fake psutil; returns it."""
    fake = FakePsutil(**told)
    monkeypatch.setattr(host, "psutil", fake)
    return fake


def machine(monkeypatch, root: Path, cpus: int = 2, cpu: str = CPU) -> Path:
    """Let this machine have these CPUs; write /proc/cpuinfo below `root`."""
    install(monkeypatch, cpus=cpus)
    write(root, "proc/cpuinfo", "\n".join(cpu.format(i=i) for i in range(cpus)))
    return root


def children(root: Path, pid: str, *below: int) -> None:
    """The processes that `pid` (or `self`) has started and that run."""
    write(root, f"proc/{pid}/task/1/children", " ".join(map(str, below)))


def rapl(root: Path, *microjoules: int, span: int = 1_000_000) -> None:
    """One energy counter a package, and the core counter inside the first, which is not added."""
    for i, value in enumerate(microjoules):
        folder = f"sys/class/powercap/intel-rapl:{i}"
        write(root, f"{folder}/energy_uj", f"{value}\n")
        write(root, f"{folder}/max_energy_range_uj", f"{span}\n")
    write(root, "sys/class/powercap/intel-rapl:0:0/energy_uj", "5\n")


def write(root: Path, path: str, text: str) -> None:
    """Write one file, with its folders."""
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)
