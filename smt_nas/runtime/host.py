"""What the system says of this machine: its CPU, load, stolen time, frequency, energy (RAPL).

psutil tells what it knows on every system. Linux alone tells the rest, in files below a root folder
that a test can lay out. What is not told is None.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psutil

from smt_nas.runtime.nvml import Unavailable

ROOT = Path("/")
MAX_FOREIGN = 0.05  # share of the CPU time that others may use while something is timed
_T = TypeVar("_T")


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
        threads_per_core: hardware threads that share one core.
    """

    name: str | None
    family: str | None
    threads: int
    mhz: float | None
    flags: frozenset[str]
    cache_mb: float | None
    threads_per_core: int = 1

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


def available_cores() -> int:
    """Hardware threads that this process may use, at least 1."""
    allowed = _ask(lambda: psutil.Process().cpu_affinity())  # macOS has none
    return len(allowed) if allowed else psutil.cpu_count() or 1


def read_host(root: Path = ROOT) -> Host:
    """What this machine's CPU is."""
    fields = _read_cpuinfo(root)
    words = [fields.get(k) for k in ("vendor_id", "cpu family", "model")]
    vendor, family, model = words
    clocks = _ask(lambda: psutil.cpu_freq(percpu=True)) or []
    return Host(
        name=fields.get("model name"),
        family=f"{vendor} family {family} model {model}" if None not in words else None,
        threads=available_cores(),
        mhz=max((clock.max or clock.current for clock in clocks), default=None),
        flags=frozenset((fields.get("flags") or fields.get("Features") or "").split()),
        cache_mb=_read_last_cache_mb(root),
        threads_per_core=_count_threads_per_core(fields),
    )


def read_board(root: Path = ROOT) -> str | None:
    """Model of the board, as a device tree tells it: `NVIDIA Jetson Orin Nano Developer Kit`.

    Only systems without a BIOS have one, Jetsons among them, whose GPUs bear one name:
    https://github.com/ultralytics/ultralytics/pull/9876.
    """
    return (_read(root / "proc/device-tree/model") or "").strip("\0\n ") or None


def sample_host(root: Path = ROOT) -> HostSample:
    """Load, stolen time and our own share, now."""
    times = _ask(psutil.cpu_times)
    load = _ask(psutil.getloadavg)
    clock = _ask(psutil.cpu_freq)
    return HostSample(
        time_s=time.perf_counter(),
        cpus=psutil.cpu_count() or 1,
        busy_s=None if times is None else _busy_s(times),
        steal_s=getattr(times, "steal", None),
        own_s=_own_s(root),
        load1=None if load is None else load[0],
        mhz=clock.current if clock else None,
    )


def foreign_share(before: HostSample, after: HostSample) -> float | None:
    """Share of the machine's CPU time that others used between two samples, in [0, 1].

    Systems count in steps of 10 ms: a window below half a second says little.
    """
    return _share(before, after, "busy_s", "own_s")


def steal_share(before: HostSample, after: HostSample) -> float | None:
    """Share of the machine's CPU time that a hypervisor gave to others, in [0, 1]."""
    return _share(before, after, "steal_s")


def _share(a: HostSample, b: HostSample, plus: str, minus: str | None = None) -> float | None:
    values: list[float | None] = [getattr(s, f) for f in (plus, minus) if f for s in (b, a)]
    known = [v for v in values if v is not None]
    capacity = (b.time_s - a.time_s) * a.cpus
    if len(known) < len(values) or capacity <= 0:
        return None
    used = known[0] - known[1] - (known[2] - known[3] if minus else 0.0)
    return min(max(used / capacity, 0.0), 1.0)


class Rapl:
    """The CPU packages' own energy counters. Made by `open_rapl`."""

    def __init__(self, counters: tuple[tuple[Path, int], ...]) -> None:
        self._counters = counters  # file, and the value it wraps at, in microjoules
        self._last = [_read_whole(path) for path, _ in counters]
        self._sum_uj = 0

    def energy_mj(self) -> float | None:
        """Millijoules of all packages since it was opened; ask at least once a minute.

        A counter wraps after some minutes at full power: one wrap between two calls is set right.
        """
        now = [_read_whole(path) for path, _ in self._counters]
        for before, value, (_, span) in zip(self._last, now, self._counters, strict=True):
            if before is None or value is None:
                return None
            self._sum_uj += value - before if value >= before else value + span - before
        self._last = now
        return self._sum_uj / 1e3


def open_rapl(root: Path = ROOT) -> Rapl | Unavailable:
    """Open the energy counters of this machine's CPUs, or say why there are none."""
    folder = root / "sys/class/powercap"
    zones = [z for z in sorted(folder.glob("*-rapl:*")) if z.name.count(":") == 1]
    if not zones:
        return Unavailable("this kernel shows no RAPL counters (virtual machines hide them).")
    counters = tuple((z / "energy_uj", _read_whole(z / "max_energy_range_uj") or 0) for z in zones)
    if any(_read_whole(path) is None for path, _ in counters):
        return Unavailable("RAPL counters are there, but only root reads them. `chmod a+r` them.")
    return Rapl(counters)


def _ask(question: Callable[[], _T]) -> _T | None:
    """What psutil answers; None where this system does not tell."""
    try:
        return question()
    except (psutil.Error, OSError, NotImplementedError, AttributeError):
        return None


def _busy_s(times: Any) -> float:
    """Seconds that all CPUs worked; not every system tells of each kind of work."""
    kinds = ("user", "nice", "system", "irq", "softirq")
    return float(sum(getattr(times, kind, 0.0) for kind in kinds))


def _own_s(root: Path) -> float | None:
    """CPU seconds of this process, of its children that ended, and of those that run."""
    mine = _cpu_s(None)
    if mine is None:
        return None
    return mine + sum(_cpu_s(pid) or 0.0 for pid in _descendants(root))


def _cpu_s(pid: int | None) -> float | None:
    """CPU seconds of a process (None: of this one) and of its children that ended."""
    times = _ask(lambda: psutil.Process(pid).cpu_times())
    kinds = ("user", "system", "children_user", "children_system")
    return None if times is None else float(sum(getattr(times, kind, 0.0) for kind in kinds))


def _descendants(root: Path) -> list[int]:
    """Processes below this one.

    Linux lists children by parent. psutil looks through every process of the machine instead, which
    takes a hundred times as long: too long between two rounds of a measurement.
    """
    task = root / "proc/self/task"
    if not any(task.glob("*/children")):
        children = _ask(lambda: psutil.Process().children(recursive=True))
        return [child.pid for child in children or ()]
    pids, left = list[int](), [task]
    while left:
        for path in left.pop().glob("*/children"):
            children_here = [int(pid) for pid in (_read(path) or "").split()]
            pids += children_here
            left += [root / f"proc/{pid}/task" for pid in children_here]
    return pids


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def _read_whole(path: Path) -> int | None:
    text = (_read(path) or "").strip()
    return int(text) if text.isdecimal() else None


def _read_cpuinfo(root: Path) -> dict[str, str]:
    """The first processor's fields; psutil tells no names and no instruction sets."""
    first = (_read(root / "proc/cpuinfo") or "").split("\n\n", 1)[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs if value.strip()}


def _count_threads_per_core(fields: dict[str, str]) -> int:
    """As the first processor tells it: 1 where it does not."""
    siblings, cores = (fields.get(name, "") for name in ("siblings", "cpu cores"))
    if not (siblings.isdecimal() and cores.isdecimal() and int(cores)):
        return 1
    return max(1, int(siblings) // int(cores))


def _read_last_cache_mb(root: Path) -> float | None:
    folder = root / "sys/devices/system/cpu/cpu0/cache"
    sizes = [(_read(p) or "").strip() for p in folder.glob("index*/size")]
    kib = [int(s[:-1]) for s in sizes if s.endswith("K") and s[:-1].isdecimal()]
    return max(kib) / 1024 if kib else None
