"""Which device each process takes; what differs between processes ends all of them."""

import pytest
import torch
import torch.distributed as dist

from smt_nas.errors import TrainingError
from smt_nas.train.processes.process_group import ProcessGroup, choose_device, join_process_group


@pytest.fixture
def gpus(monkeypatch):
    def there(count):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)

    return there


def test_each_process_takes_the_gpu_of_its_number(gpus, monkeypatch):
    gpus(2)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")  # of 4 on two machines
    assert [choose_device(word, 1, 4) for word in (None, "cuda")] == [torch.device("cuda", 1)] * 2
    assert choose_device("cpu", 1, 4) == torch.device("cpu")


@pytest.mark.parametrize("local", [0, 1])
@pytest.mark.parametrize(("word", "count"), [(None, 1), ("cuda", 1), ("cuda:0", 2)])
def test_no_process_joins_with_a_device_of_another_kind(gpus, local, word, count):
    gpus(count)
    with pytest.raises(TrainingError, match=r"each must have a GPU of its own.*--device cpu"):
        choose_device(word, local, 2)


def test_without_gpus_all_are_on_the_cpu(gpus):
    gpus(0)
    assert [choose_device(None, i, 2) for i in range(2)] == [torch.device("cpu")] * 2


def test_a_lone_process_joins_nobody(monkeypatch):
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    with join_process_group("cpu") as group:
        assert group == ProcessGroup(0, 1, torch.device("cpu"))
        assert group.all_reduce(1.5, 2.0) == (1.5, 2.0) and not group.any(False)
    monkeypatch.setenv("WORLD_SIZE", "two")
    with pytest.raises(TrainingError, match=r"WORLD_SIZE: must be a number \(got 'two'\)"):
        join_process_group("cpu").__enter__()


def test_who_joins_twice_in_a_process_finds_the_others_joined(monkeypatch):
    """torchrun's store keeps what a first group wrote, so a second one of it may wait for ever."""
    calls, backend = [], "gloo"
    monkeypatch.setattr(dist, "is_initialized", lambda: bool(calls))
    monkeypatch.setattr(dist, "get_backend", lambda: backend)
    monkeypatch.setattr(dist, "init_process_group", lambda name, timeout: calls.append(name))
    monkeypatch.setattr(dist, "destroy_process_group", lambda: calls.clear())
    monkeypatch.setattr("atexit.register", lambda function: None)
    for name, value in {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    for _ in range(2):
        with join_process_group("cpu") as outer, join_process_group("cpu") as inner:
            assert outer == inner == ProcessGroup(1, 2, torch.device("cpu"))
    assert calls == ["gloo"]
    backend = "nccl"
    with pytest.raises(TrainingError, match=r"got gloo after nccl"):
        join_process_group("cpu").__enter__()
