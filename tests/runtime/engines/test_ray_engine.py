"""Ray: a real cluster of two nodes on this machine, of which one dies."""

import os
import signal
import socket
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from smt_nas.errors import ConfigError
from smt_nas.runtime.engines import ray_engine
from smt_nas.runtime.engines.ray_engine import RayEngine, RayOptions
from tests.fakes.ray_cluster import open_cluster

# of Ray, whose log files and sockets stay open until its processes end
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
    "ignore::FutureWarning",
    "ignore::DeprecationWarning",
)
SOON = {  # a node that is gone is noticed in 2 s instead of 12
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 3,
}


@pytest.fixture(scope="module")
def cluster():
    pytest.importorskip("ray", reason="ray is not installed")
    with open_cluster(num_cpus=1, _system_config=SOON) as cluster:
        yield cluster


def note_node(seconds, folder):
    """Leave a file named after the Ray worker above this child, and take a while."""
    name = f"{os.getppid()}-{time.monotonic_ns()}"
    (Path(folder) / name).touch()
    time.sleep(seconds)
    return seconds


def die_once(number, folder):
    """SIGKILL, as by a machine short of memory, in the first call."""
    flag = Path(folder) / str(number)
    if not flag.exists():
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def grow(number):
    """What memory that ends looks like."""
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_a_node_that_dies_costs_no_answer(cluster, tmp_path):
    node = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    call = partial(note_node, folder=str(tmp_path))
    with RayEngine(2, RayOptions(cluster.address)) as engine:

        def kill():
            while len(list(tmp_path.iterdir())) < 2:  # one on each node
                time.sleep(0.1)
            cluster.remove_node(node, allow_graceful=False)

        killer = threading.Thread(target=kill)
        killer.start()
        numbers = [3.0, 3.0, 0.0, 0.1]
        answers = list(engine.map(call, numbers, lost=lambda reason: reason))
        killer.join()
    assert answers == numbers
    assert len(list(tmp_path.iterdir())) > len(numbers)  # one ran again


def test_a_worker_that_is_killed_once_is_tried_again_and_twice_is_lost(cluster, tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    with RayEngine(None, RayOptions(cluster.address)) as engine:
        call = partial(die_once, folder=str(tmp_path))
        assert list(engine.map(call, range(2), lost=str)) == [0, 1]
        answers = list(engine.map(grow, range(3), lost=lambda reason: reason))
    assert [answers[0], answers[2]] == [0, 2]
    assert "SIGKILL" in answers[1] and "memory" in answers[1]
    assert signal.getsignal(signal.SIGTERM) is before  # Ray leaves one of its own


@pytest.mark.parametrize("address", ["127.0.0.1:1", "here", "host:port", "10.0.0.1:99999999"])
def test_an_address_that_does_not_answer_is_told(address):
    pytest.importorskip("ray", reason="ray is not installed")
    with pytest.raises(ConfigError, match=f"--ray-address {address}"), _engine(address):
        pass


def test_one_who_listens_and_is_no_cluster_is_given_up(monkeypatch):
    pytest.importorskip("ray", reason="ray is not installed")
    monkeypatch.setattr(ray_engine, "CLUSTER_S", 2.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(ConfigError, match="no answer within 2 s"), _engine(address):
            pass


def _engine(address):
    return RayEngine(1, RayOptions(address))


class SmallCluster:
    """A stand-in for ray, of one node with two CPUs, on which a task never ends."""

    def remote(self, *arguments, **resources):
        return (lambda function: self) if resources else object()

    def nodes(self):
        return [{"Alive": True, "Resources": {"CPU": 2.0}}]

    def cluster_resources(self):
        return {"CPU": 2.0}

    def wait(self, references, num_returns, timeout):
        return [], references


def test_a_task_that_no_node_has_room_for_is_not_waited_for_for_ever(monkeypatch):
    monkeypatch.setattr(ray_engine, "ROOM_S", 0.0)
    engine = RayEngine(None, RayOptions(cpus=64))
    engine._ray = SmallCluster()
    with pytest.raises(ConfigError, match=r"64 CPUs and 0 GPUs .* \(got 2 and 0 on the largest"):
        list(engine.map_unordered(abs, [1], str))
