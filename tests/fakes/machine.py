"""A machine laid out as files: what `smt_nas.runtime.host` reads below its root."""

from pathlib import Path

CPU = """processor\t: {i}
vendor_id\t: AuthenticAMD
cpu family\t: 25
model\t\t: 1
model name\t: AMD EPYC
cpu MHz\t\t: 2445.406
flags\t\t: fpu sse2 avx fma avx2
"""


def machine(root: Path, cpus: int = 2, cpu: str = CPU) -> Path:
    """Write /proc/cpuinfo, /proc/stat, /proc/loadavg and this process below `root`."""
    write(root, "proc/cpuinfo", "\n".join(cpu.format(i=i) for i in range(cpus)))
    stat(root)
    write(root, "proc/loadavg", "0.50 0.20 0.10 2/100 999\n")
    own(root, 0)
    return root


def stat(root: Path, busy: int = 0, steal: int = 0) -> None:
    """Ticks (10 ms) that all CPUs worked, and that were stolen."""
    write(root, "proc/stat", f"cpu  {busy} 0 0 9999 5 0 0 {steal} 0 0\ncpu0 0 0 0 0\n")


def own(root: Path, ticks: int, ended: int = 0) -> None:
    """Ticks of this process and of its children that ended."""
    process(root, "self", ticks, ended)


def process(root: Path, pid: str, ticks: int, ended: int = 0, children: str = "") -> None:
    """One process: its ticks, those of its ended children, ids of those that run."""
    fields = ["S", *["0"] * 10, str(ticks), "0", str(ended), "0", *["0"] * 20]
    write(root, f"proc/{pid}/stat", f"7 (a (wild) name) {' '.join(fields)}\n")
    write(root, f"proc/{pid}/task/1/children", children)


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
