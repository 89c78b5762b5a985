"""Memory of the C library, kept for a training on a CPU instead of given back at every update.

An update of a small network allocates and frees some hundred megabytes in tensors of a few. By
default glibc takes large ones from the system each time, which must hand out zeroed pages: here
4,000 page faults an update of a network of 6 MMACs at batch 64, some 7 of its 100 ms (torch 2.13).

It lasts as long as the process, so that only who owns one may do so: a command, or a worker. A
training that a program of the user's starts leaves the memory of that program as it is.
"""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Callable

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # of mallopt(3)
_LARGEST = 32 << 20  # bytes: the most that glibc takes for its threshold of mmap
_PAD = 256 << 20  # bytes taken at once
_NEVER = 2**31 - 1  # bytes free at the top before any are given back


def choose_preparation(device_type: str) -> Callable[[], object] | None:
    """What a worker does before it trains on a kind of device: an engine's `prepare`."""
    return keep_freed_memory if device_type == "cpu" else None


def keep_freed_memory() -> bool:
    """Let this process keep the memory that it frees, in huge pages where torch can have them.

    To be called before the first large tensor. Returns whether the C library does so.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # torch reads it at its first allocation
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    options = {_MMAP_THRESHOLD: _LARGEST, _TRIM_THRESHOLD: _NEVER, _TOP_PAD: _PAD}
    return all([mallopt(option, value) == 1 for option, value in options.items()])
