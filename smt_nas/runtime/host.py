"""What Linux says of this machine: its CPU, load, stolen time, frequency, energy (RAPL).

Everything is read below a root folder, so that a test can lay one out. What is not there is None.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from smt_nas.runtime.nvml import Absent

ROOT = Path("/")
_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100  # of /proc, per second


@dataclass(frozen=True)
class Host:
    """What the CPU is.

    Attributes:
        name: as /proc/cpuinfo tells it, e.g. `AMD EPYC`.
        family: `AuthenticAMD family 25 model 1`: says more than the name in a virtual machine.
        threads: hardware threads this process may use.
        mhz: highest clock told.
        flags: instruction sets.
        cache_mb: its last cache, MiB.
    """

    name: str | None
    family: str | None
    threads: int
    mhz: float | None
    flags: frozenset[str]
    cache_mb: float | None

    @property
    def names(self) -> tuple[str, ...]:
        """Every name it goes by."""
        return tuple(n for n in (self.family, self.name) if n is not None)


@dataclass(frozen=True)
class HostSample:
    """State of the machine at one moment; seconds since it started, None where not known.

    Attributes:
        time_s: of `time.perf_counter`.
        cpus: of the whole machine.
        busy_s: that all CPUs worked, whoever for.
        steal_s: that a hypervisor gave to others.
        own_s: CPU time of this process and the processes it started.
        load1: runnable processes, mean of a minute.
        mhz: mean clock of all CPUs.
    """

    time_s: float
    cpus: int
    busy_s: float | None
    steal_s: float | None
    own_s: float | None
    load1: float | None
    mhz: float | None


def host(root: Path = ROOT) -> Host:
    """What this machine's CPU is."""
    fields = _cpuinfo(root)
    words = [fields.get(k) for k in ("vendor_id", "cpu family", "model")]
    vendor, family, model = words
    return Host(
        name=fields.get("model name"),
        family=f"{vendor} family {family} model {model}" if None not in words else None,
        threads=_threads(root),
        mhz=_highest_mhz(root),
        flags=frozenset((fields.get("flags") or fields.get("Features") or "").split()),
        cache_mb=_last_cache_mb(root),
    )


def sample(root: Path = ROOT) -> HostSample:
    """Load, stolen time and our own share, now."""
    cpu = _stat(root)
    clocks = _mhz(root)
    load = (_read(root / "proc/loadavg") or "").split()
    return HostSample(
        time_s=time.perf_counter(),
        cpus=os.cpu_count() or 1,
        busy_s=None if cpu is None else sum(cpu[i] for i in (0, 1, 2, 5, 6)) / _TICKS,
        steal_s=None if cpu is None or len(cpu) < 8 else cpu[7] / _TICKS,
        own_s=_own_s(root),
        load1=float(load[0]) if load else None,
        mhz=sum(clocks) / len(clocks) if clocks else None,
    )


def foreign_share(before: HostSample, after: HostSample) -> float | None:
    """Share of the machine's CPU time that others used between two samples, in [0, 1].

    /proc counts in steps of 10 ms: a window below half a second says little.
    """
    return _share(before, after, "busy_s", "own_s")


def steal_share(before: HostSample, after: HostSample) -> float | None:
    """Share of the machine's CPU time that a hypervisor gave to others, in [0, 1]."""
    return _share(before, after, "steal_s")


def _share(a: HostSample, b: HostSample, plus: str, minus: str | None = None) -> float | None:
    values: list[float | None] = [getattr(s, f) for f in (plus, minus) if f for s in (b, a)]
    told = [v for v in values if v is not None]
    capacity = (b.time_s - a.time_s) * a.cpus
    if len(told) < len(values) or capacity <= 0:
        return None
    used = told[0] - told[1] - (told[2] - told[3] if minus else 0.0)
    return min(max(used / capacity, 0.0), 1.0)


class Rapl:
    """The CPU packages' own energy counters. Made by `open_rapl`."""

    def __init__(self, counters: tuple[tuple[Path, int], ...]) -> None:
        self._counters = counters  # file, and the value it wraps at, in microjoules
        self._last = [_whole(path) for path, _ in counters]
        self._sum_uj = 0

    def energy_mj(self) -> float | None:
        """Millijoules of all packages since it was opened; ask at least once a minute.

        A counter wraps after some minutes at full power: one wrap between two calls is set right.
        """
        now = [_whole(path) for path, _ in self._counters]
        for before, value, (_, span) in zip(self._last, now, self._counters, strict=True):
            if before is None or value is None:
                return None
            self._sum_uj += value - before if value >= before else value + span - before
        self._last = now
        return self._sum_uj / 1e3


def open_rapl(root: Path = ROOT) -> Rapl | Absent:
    """Open the energy counters of this machine's CPUs, or say why there are none."""
    folder = root / "sys/class/powercap"
    zones = [z for z in sorted(folder.glob("*-rapl:*")) if z.name.count(":") == 1]
    if not zones:
        return Absent("this kernel shows no RAPL counters (virtual machines hide them).")
    counters = tuple((z / "energy_uj", _whole(z / "max_energy_range_uj") or 0) for z in zones)
    if any(_whole(path) is None for path, _ in counters):
        return Absent("RAPL counters are there, but only root reads them. `chmod a+r` them.")
    return Rapl(counters)


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def _whole(path: Path) -> int | None:
    text = (_read(path) or "").strip()
    return int(text) if text.isdecimal() else None


def _cpuinfo(root: Path) -> dict[str, str]:
    """The first processor's fields."""
    first = (_read(root / "proc/cpuinfo") or "").split("\n\n", 1)[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs if value.strip()}


def _mhz(root: Path) -> list[float]:
    lines = (_read(root / "proc/cpuinfo") or "").splitlines()
    return [float(line.partition(":")[2]) for line in lines if line.startswith("cpu MHz")]


def _highest_mhz(root: Path) -> float | None:
    khz = _whole(root / "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq")
    return khz / 1e3 if khz else max(_mhz(root), default=None)


def _threads(root: Path) -> int:
    if root != ROOT:
        lines = (_read(root / "proc/cpuinfo") or "").splitlines()
        return sum(line.startswith("processor") for line in lines) or 1
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def _last_cache_mb(root: Path) -> float | None:
    folder = root / "sys/devices/system/cpu/cpu0/cache"
    sizes = [(_read(p) or "").strip() for p in folder.glob("index*/size")]
    kib = [int(s[:-1]) for s in sizes if s.endswith("K") and s[:-1].isdecimal()]
    return max(kib) / 1024 if kib else None


def _stat(root: Path) -> list[int] | None:
    """Ticks of all CPUs: user, nice, system, idle, iowait, irq, softirq, steal."""
    words = (_read(root / "proc/stat") or "").partition("\n")[0].split()
    return [int(w) for w in words[1:]] if len(words) >= 8 and words[0] == "cpu" else None


def _own_s(root: Path) -> float | None:
    """CPU seconds of this process, of its children that ended, and of those that run."""
    mine = _process_s(root, "self", ended=True)
    if mine is None:
        return None
    return mine + sum(_process_s(root, pid, ended=True) or 0.0 for pid in _descendants(root))


def _process_s(root: Path, pid: str, *, ended: bool) -> float | None:
    text = _read(root / "proc" / pid / "stat")
    if text is None:
        return None
    fields = text.rpartition(")")[2].split()  # from the third on; a name may hold spaces
    return sum(int(f) for f in fields[11 : 15 if ended else 13]) / _TICKS


def _descendants(root: Path) -> list[str]:
    """Process ids below this process, as far as the kernel lists children."""
    found, left = list[str](), ["self"]
    while left:
        for path in (root / "proc" / left.pop() / "task").glob("*/children"):
            children = (_read(path) or "").split()
            found += children
            left += children
    return found
