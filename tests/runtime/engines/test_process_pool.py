"""Workers: a death costs one answer, and none outlives the process that leads."""

import gc
import os
import signal
import struct
import subprocess
import sys
import time
from multiprocessing.connection import Connection

import psutil
import pytest

from smt_nas.runtime.engines.process_pool import ProcessPool

_SLEEPERS = (
    "import time\n"
    "from smt_nas.runtime.engines.process_pool import ProcessPool\n"
    "with ProcessPool(2) as workers:\n"
    "    list(workers.map(time.sleep, [0, 0, 6000, 6000], str))\n"
)


@pytest.mark.parametrize("count", [2, 3])
def test_a_killed_worker_costs_one_answer(count):
    """`signal.raise_signal` is what a worker can import; it stands for the kernel's OOM killer."""
    with ProcessPool(count) as workers:
        numbers = [0, 0, signal.SIGKILL, 0, 0]
        answers = list(workers.map(signal.raise_signal, numbers, str.upper))
    assert answers[:2] + answers[3:] == [None] * 4
    assert "SIGKILL" in answers[2]


def fall_amid_answer(number):
    """Of an answer of 1,000 bytes, four are on their way when the worker is killed."""
    if number == 1:
        [connection] = [o for o in gc.get_objects() if isinstance(o, Connection)]
        os.write(connection.fileno(), struct.pack("!i", 1000) + b"half")
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_a_worker_that_is_killed_amid_its_answer_costs_that_answer():
    with ProcessPool(2) as workers:
        answers = list(workers.map(fall_amid_answer, range(3), str.upper))
    assert answers[0::2] == [0, 2] and "SIGKILL" in answers[1]


def test_workers_end_with_a_leader_that_is_killed():
    """Though both are amid a call."""
    leader = subprocess.Popen([sys.executable, "-c", _SLEEPERS])
    workers = []
    while len(workers) < 2:
        workers = psutil.Process(leader.pid).children()
        time.sleep(0.05)
    leader.kill()
    leader.wait()
    left = psutil.wait_procs(workers, timeout=600)[1]
    assert not left
