"""Peak memory of a network while it runs, on one set of inputs. 1 MB = 1e6 bytes.

- GPU: what torch's allocator handed out (`peak_memory_mb`) and what it took from the driver
  (`reserved_memory_mb`) at most, beyond what was in use before; the CUDA context is not in it. Of
  a CUDA graph the capture counts, with the workspaces that tuning tries before it
- CPU: by how much the resident memory of this process grows, at its highest (Linux keeps that mark
  in /proc, VmHWM). Freed memory is handed back first, so that nothing old is used again; so this
  holds weights, activations, and the workspaces of kernels, and no saying is exact to a MB
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from pathlib import Path

import torch

from smt_nas.conditions import Conditions
from smt_nas.errors import MeasurementError, one_line
from smt_nas.profilers.latency.clock import Runnable
from smt_nas.profilers.latency.prepare import prepare
from smt_nas.profilers.network_loader import Network
from smt_nas.profilers.reading import Reading, unknown

PROC = Path("/proc/self")
_RESET_PEAK = "5"  # to clear_refs: "reset the peak resident set size" (proc(5))


def measure_peak_memory(
    network: Network, conditions: Conditions, device: str, proc: Path = PROC
) -> dict[str, Reading]:
    """Run a network once more, and see the most memory it takes.

    Call it where the network ran before in this process: the first run loads kernels, which on a
    CPU would be counted.

    Args:
        network: what to run.
        conditions: how; with `compile` it is compiled again.
        device: `cpu` or `cuda:0`.
        proc: where Linux tells of this process.

    Returns: `peak_memory_mb` and `reserved_memory_mb`; without a value, and with the reason, where
    it cannot be read or the network does not run.
    """
    try:
        if device != "cpu":
            return _peak_of_gpu(network, conditions, device)
        return {
            "peak_memory_mb": _peak_of_process(network, conditions, proc),
            "reserved_memory_mb": unknown("measured", "a CPU has no pool of its own"),
        }
    except Exception as error:  # a GPU that fell off may raise at any question
        reason = str(error) if isinstance(error, MeasurementError) else one_line(error)
        nothing = unknown("measured", reason)
        return {"peak_memory_mb": nothing, "reserved_memory_mb": nothing}


def _peak_of_gpu(network: Network, conditions: Conditions, device: str) -> dict[str, Reading]:
    gc.collect()  # garbage of before would be freed meanwhile and taken off the peak
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated(device), torch.cuda.memory_reserved(device)
    runnable = prepare(network, conditions, device, sets=1)
    try:
        is_graph = conditions.mode == "graph"  # a replay allocates nothing, the capture did
        if is_graph:
            torch.cuda.reset_peak_memory_stats(device)
        runnable.first()  # tuning tries workspaces that no later call needs
        if not is_graph:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)
        _run_once(runnable)
        torch.cuda.synchronize(device)
        after = torch.cuda.max_memory_allocated(device), torch.cuda.max_memory_reserved(device)
    finally:
        runnable.close()
    allocated, reserved = ((high - low) / 1e6 for low, high in zip(before, after, strict=True))
    return {
        "peak_memory_mb": Reading(allocated, "measured"),
        "reserved_memory_mb": Reading(reserved, "measured"),
    }


def _peak_of_process(network: Network, conditions: Conditions, proc: Path) -> Reading:
    release_freed_memory()
    before = resident_mb(proc)
    if before is None:
        return unknown("measured", "this system tells no resident memory of a process")
    runnable = prepare(network, conditions, "cpu", sets=1)
    try:
        if conditions.mode == "compile":
            runnable.first()  # the compiler takes memory that no later call needs
        release_freed_memory()
        if not _reset_peak(proc):
            return unknown("measured", "this kernel does not let the peak be reset (clear_refs)")
        _run_once(runnable)
        peak = field_mb(proc / "status", "VmHWM")
    finally:
        runnable.close()
    if peak is None or peak <= before:
        return unknown("measured", "the resident memory of this process did not grow")
    return Reading(peak - before, "measured")


def _run_once(runnable: Runnable) -> None:
    """One call, whose failure is told in one line."""
    try:
        runnable()
    except MeasurementError:
        raise
    except Exception as error:  # the network's own code may raise anything
        runnable.first()  # tells it in one line, if it fails again
        raise MeasurementError(f"{runnable.name}: fails at times") from error


def release_freed_memory() -> None:
    """Hand freed memory back to the system, where the C library can."""
    gc.collect()
    try:
        trim: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):  # not glibc: the figure may then be too low
        return
    trim(0)


def resident_mb(proc: Path = PROC) -> float | None:
    """Resident memory of this process, MB."""
    return field_mb(proc / "status", "VmRSS")


def _reset_peak(proc: Path) -> bool:
    try:
        (proc / "clear_refs").write_text(_RESET_PEAK, encoding="ascii")
    except OSError:
        return False
    return True


def field_mb(path: Path, field: str) -> float | None:
    """A line `field: n kB` of a file below /proc."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    words = next((line.split() for line in lines if line.startswith(f"{field}:")), [])
    return int(words[1]) * 1024 / 1e6 if len(words) > 1 else None
