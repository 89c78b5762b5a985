"""Trainings that take turns in one process end as each does alone."""

import os
import signal
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from smt_nas.runtime.turns import finish
from smt_nas.train.processes.lane import run_in_lane
from smt_nas.train.processes.randomness import preserve_generators
from smt_nas.train.processes.training_context import catch_interrupts
from smt_nas.train.train_config import RunOptions
from smt_nas.train.train_job import MemoryReason, TrainJob, iterate_job, train_job
from tests.fakes.graphs import capture_on_cpu
from tests.fakes.images import few_digits
from tests.fakes.trainings import SHORT, assert_same_tensors, last_checkpoint
from tests.fakes.weights import TINY

CPU = torch.device("cpu")
LONG = replace(SHORT, epochs=2, changes=(*SHORT.changes, "drop_path=0.2", "augment.mixup=0.2"))
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.fixture(autouse=True)
def few_images():
    with few_digits(10), preserve_generators(CPU):
        yield


def jobs_in(folder, device="cpu", seeds=(0, 1, 2), **options):
    """The same network from several seeds, of different lengths."""
    return [
        TrainJob(
            TINY,
            replace(LONG, seed=seed, epochs=1 + seed),
            RunOptions(device=device, **options),
            folder / str(seed),
        )
        for seed in seeds
    ]


def take_turns(calls):
    """The answers of calls in steps, each one step after the other."""
    answers, calls = {}, dict(enumerate(calls))
    while calls:
        for number, steps in list(calls.items()):
            try:
                next(steps)
            except StopIteration as end:
                answers[number] = end.value
                del calls[number]
    return [answers[number] for number in sorted(answers)]


@pytest.mark.parametrize("fast", [False, True])
def test_trainings_in_turn_end_as_each_does_alone(monkeypatch, tmp_path, fast):
    capture_on_cpu(monkeypatch)
    alone = [train_job(job) for job in jobs_in(tmp_path / "alone", fast=fast)]
    calls = [run_in_lane(iterate_job(job), CPU) for job in jobs_in(tmp_path / "turns", fast=fast)]
    together = take_turns(calls)
    for own, other in zip(together, alone, strict=True):
        assert own.best.val_loss == other.best.val_loss
        assert_same_tensors(last_checkpoint(own.run), last_checkpoint(other.run))


def test_one_that_fails_is_its_own_failure(monkeypatch, tmp_path):
    jobs = jobs_in(tmp_path)
    wild = ("batch_size=40", "max_nonfinite=1", "warmup_epochs=0", "optimizer.lr=1e9")
    jobs[1] = replace(jobs[1], request=replace(jobs[1].request, changes=wild))
    first, wild, last = take_turns(run_in_lane(iterate_job(job), CPU) for job in jobs)
    assert "gradients must be finite" in wild
    assert (first.epochs, last.epochs) == (1, 3)


def test_one_that_finds_the_gpu_full_is_told_apart(monkeypatch, tmp_path):
    """It may well have room alone."""

    def run_out(compute, device):
        raise torch.OutOfMemoryError("CUDA out of memory")

    capture_on_cpu(monkeypatch, run_out)
    plain, full = jobs_in(tmp_path, seeds=(0,)), jobs_in(tmp_path, seeds=(1,), fast=True)
    result, reason = take_turns(iterate_job(job) for job in plain + full)
    assert result.epochs == 1
    assert isinstance(reason, MemoryReason) and "its memory must hold a step" in reason


def test_a_signal_is_for_all_that_take_turns(tmp_path):
    """Whichever ends first: each saves, and goes on to the same end."""
    before = signal.getsignal(signal.SIGTERM)
    calls = [iterate_job(job) for job in jobs_in(tmp_path)]
    for steps in calls:
        next(steps)
    os.kill(os.getpid(), signal.SIGTERM)
    stopped = take_turns(calls)
    assert [result.stop_requested for result in stopped] == [True] * 3
    assert [result.updates for result in stopped] == [2] * 3
    assert signal.getsignal(signal.SIGTERM) is before
    gone_on = take_turns(iterate_job(job) for job in jobs_in(tmp_path))
    assert [result.epochs for result in gone_on] == [1, 2, 3]


def test_signals_are_caught_until_the_last_block_ends():
    before = signal.getsignal(signal.SIGINT)
    first, second = catch_interrupts(), catch_interrupts()
    interrupts = [first.__enter__(), second.__enter__()]
    first.__exit__(None, None, None)
    os.kill(os.getpid(), signal.SIGINT)
    assert [i.stop_requested for i in interrupts] == [False, True]
    second.__exit__(None, None, None)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_training_that_begins_while_others_are_told_to_stop_is_told_too():
    """Its turn came after the signal, e.g. as another's branch."""
    with catch_interrupts():
        os.kill(os.getpid(), signal.SIGTERM)
        with catch_interrupts() as late:
            assert late.stop_requested
    with catch_interrupts() as later:
        assert not later.stop_requested


def test_a_lane_lends_torch_its_stream_and_generator_for_each_step(monkeypatch):
    """torch's own are there between steps; a fake stands for the GPU's."""
    log, states = [], ["own"]

    class Default:
        def graphsafe_get_state(self):
            return states[-1]

        def graphsafe_set_state(self, state):
            states.append(state)

    class Entered:
        def __init__(self, stream):
            self.stream = stream

        def __enter__(self):
            log.append(self.stream)

        def __exit__(self, *exception):
            log.append(None)

    stream = SimpleNamespace(device=SimpleNamespace(index=0))
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: stream)
    monkeypatch.setattr(torch.cuda, "stream", Entered)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: log.append("synchronized"))
    monkeypatch.setattr(torch.cuda, "default_generators", (Default(),))
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: log.append("emptied"))
    monkeypatch.setattr(torch, "Generator", lambda device: "lent")

    def steps():
        assert (log[-1], states[-1]) == (stream, "lent")
        yield
        assert (log[-1], states[-1]) == (stream, "lent")
        return 3

    outer = run_in_lane(steps(), torch.device("cuda", 0))
    next(outer)
    assert (log, states[-1]) == (["synchronized", stream, None], "own")
    assert finish(outer) == 3
    assert (log[3:], states[-1]) == ([stream, None, "emptied"], "own")


@needs_gpu
@pytest.mark.gpu
def test_trainings_on_streams_of_their_own_end_as_each_does_alone(tmp_path):
    device = torch.device("cuda", 0)
    alone = [train_job(job) for job in jobs_in(tmp_path / "alone", "cuda", fast=True)]
    calls = [
        run_in_lane(iterate_job(job), device)
        for job in jobs_in(tmp_path / "turns", "cuda", fast=True)
    ]
    for own, other in zip(take_turns(calls), alone, strict=True):
        assert own.best.val_loss == pytest.approx(other.best.val_loss, rel=0.02)
