"""Memory kept for trainings on a CPU."""

import platform
import subprocess
import sys

import pytest

from smt_nas.runtime.allocator import choose_preparation, keep_freed_memory

FAULTS = """
import resource, sys
from smt_nas.runtime.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
import torch
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    [torch.ones(1 << 21) + 1 for _ in range(6)]  # 8 MB each, written, and freed together
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def count_faults(mode: str) -> int:
    run = [sys.executable, "-c", FAULTS, mode]
    return int(subprocess.run(run, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_memory_that_is_kept_costs_few_page_faults():
    """Some, wherever the system is short of huge pages; without it each page, again and again."""
    assert count_faults("keep") * 3 < count_faults("plain")


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert not keep_freed_memory()


def test_workers_keep_it_where_the_cpu_trains():
    assert choose_preparation("cpu") is keep_freed_memory
    assert choose_preparation("cuda") is None
