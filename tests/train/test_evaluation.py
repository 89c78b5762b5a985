"""Evaluation: against NumPy, over uneven processes, and with networks that misbehave."""

import threading

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from smt_nas.errors import TrainingError
from smt_nas.models import build
from smt_nas.runtime.progress import EvalWarning, NullProgress
from smt_nas.train.evaluation import evaluate, move_batches
from smt_nas.train.processes.process_group import ProcessGroup
from tests.fakes.trainings import ALONE
from tests.fakes.weights import TINY

CPU = torch.device("cpu")
NAMES = tuple("abcdefgh")


class Echo(nn.Module):
    """Its images are its logits: (B, 1, 1, C) to (B, C). Remembers how it was called."""

    def __init__(self):
        super().__init__()
        self.inner = nn.BatchNorm2d(1)
        self.seen = []

    def forward(self, x):
        self.seen.append(x)
        assert not (self.training or self.inner.training) and torch.is_inference_mode_enabled()
        return x.flatten(1)


def images(n, seed=0):
    classes, rng = len(NAMES), np.random.default_rng(seed)
    logits = torch.tensor(rng.normal(size=(n, classes)), dtype=torch.float32)
    return logits.reshape(n, 1, 1, classes), torch.tensor(rng.integers(0, classes, n))


def batches(x, y, size=3):
    return list(zip(x.split(size), y.split(size), strict=True))


def softmax(logits):
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def judged(x, y, **more):
    return evaluate(Echo(), batches(x, y), NAMES, ALONE, "fp32", **more)


def test_against_numpy():
    x, y = images(50)
    found = judged(x, y, of=52, confusions=True)
    logits, labels = x.flatten(1).double().numpy(), y.numpy()
    order = np.argsort(-logits, axis=1)
    assert (found.n, found.unreadable) == (50, 2)
    assert found.top1 == (order[:, 0] == labels).mean()
    assert found.top5 == (order[:, :5] == labels[:, None]).any(axis=1).mean()
    losses = -np.log(softmax(logits)[np.arange(50), labels])
    assert found.loss == pytest.approx(losses.mean(), rel=1e-12)
    assert found.loss_error == pytest.approx(losses.std(ddof=1) / np.sqrt(50), rel=1e-9)
    for c, score in enumerate(found.per_class):
        mine = order[labels == c, 0]
        assert (score.n, score.top1) == (len(mine), (mine == c).mean())
        wrong = np.bincount(mine[mine != c], minlength=len(NAMES))
        assert score.confused == wrong.max()
        assert score.confused_with == (NAMES[wrong.argmax()] if wrong.any() else None)


class Mixed(Echo):
    """Logits that differ between an image and its mirror image, and not by their order alone."""

    MATRIX = torch.tensor(np.random.default_rng(1).normal(size=(8, 8)), dtype=torch.float32)

    def forward(self, x):
        return super().forward(x) @ self.MATRIX


def test_flip_judges_by_the_mean_of_probabilities():
    x, y = images(60)
    found = evaluate(Mixed(), batches(x, y), NAMES, ALONE, "fp32", "flip")
    plain, mirrored = (v.flatten(1) @ Mixed.MATRIX for v in (x, x.flip(-1)))
    p = (softmax(plain.double().numpy()) + softmax(mirrored.double().numpy())) / 2
    assert found.top1 == (p.argmax(axis=1) == y.numpy()).mean()
    assert found.loss == pytest.approx(-np.log(p[np.arange(60), y.numpy()]).mean(), rel=1e-5)
    alone = evaluate(Mixed(), batches(x, y), NAMES, ALONE, "fp32")
    by_logits = ((plain + mirrored).argmax(dim=1) == y).double().mean().item()
    assert len({found.top1, alone.top1, by_logits}) == 3  # so that the test tells them apart


def test_modes_are_put_back_one_by_one_also_after_a_failure():
    network = Echo()
    network.inner.eval()  # as a user who freezes its statistics
    x, y = images(4)
    evaluate(network, batches(x, y), NAMES, ALONE, "fp32")
    assert (network.training, network.inner.training) == (True, False)
    with pytest.raises(TrainingError):
        evaluate(network, batches(x, y), NAMES[:3], ALONE, "fp32")
    assert (network.training, network.inner.training) == (True, False)


def test_outputs_that_are_not_finite_are_wrong_and_counted():
    x, y = images(10)
    x[2, 0, 0, 0], x[5, 0, 0, 3], x[7, 0, 0, 1] = float("nan"), float("inf"), float("-inf")
    found = judged(x, y, confusions=True)
    kept = [i for i in range(10) if i not in (2, 5, 7)]
    rest = judged(x[kept], y[kept], confusions=True)
    assert (found.n, found.nonfinite) == (10, 3)
    assert found.top1 * 10 == pytest.approx(rest.top1 * 7)
    assert found.top5 * 10 == pytest.approx(rest.top5 * 7)
    assert found.loss == pytest.approx(rest.loss)
    assert [c.confused for c in found.per_class] == [c.confused for c in rest.per_class]
    assert found.warnings()[0] == EvalWarning("nonfinite", 3, 10)


def test_of_equal_outputs_the_first_class_wins():
    x, y = torch.zeros(8, 1, 1, 8), torch.arange(8)
    found = judged(x, y)
    assert (found.top1, found.top5) == (1 / 8, 5 / 8)


class Pair(ProcessGroup):
    """One of two processes, played by a thread."""

    def all_reduce(self, *values):
        held, barrier = self.board
        held[self.rank] = values
        barrier.wait()
        return tuple(map(sum, zip(*held, strict=True)))


@pytest.mark.parametrize("n", [1, 6, 7])
def test_two_processes_with_uneven_shares_score_as_one(n):
    x, y = images(n)
    board, found = ([None, None], threading.Barrier(2, timeout=600)), [None, None]

    def process(rank):
        group = Pair(rank, 2, CPU)
        object.__setattr__(group, "board", board)
        mine = slice(rank, None, 2)
        shard = batches(x[mine], y[mine], 2) if len(y[mine]) else []
        found[rank] = evaluate(Echo(), shard, NAMES, group, "fp32", of=n, confusions=True)

    threads = [threading.Thread(target=process, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    alone = judged(x, y, of=n, confusions=True)
    assert found[0] == found[1]
    assert found[0].loss == pytest.approx(alone.loss, rel=1e-12)
    assert found[0].per_class == alone.per_class and found[0].top5 == alone.top5
    assert found[0].unreadable == 0


def test_a_ddp_network_is_judged_without_its_wrapper():
    """It would wait for the other processes in each forward, which may have fewer batches."""
    wrapped = DistributedDataParallel.__new__(DistributedDataParallel)
    nn.Module.__init__(wrapped)
    wrapped.module = Echo()
    x, y = images(4)
    assert evaluate(wrapped, batches(x, y), NAMES, ALONE, "fp32") == judged(x, y)
    assert wrapped.module.training and len(wrapped.module.seen) == 2


def test_precision_memory_format_and_progress():
    class Convolution(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 4)

        def forward(self, x):
            self.layout = x.is_contiguous(memory_format=torch.channels_last)
            y = self.conv(x).flatten(1)
            self.dtype = y.dtype
            return y

    steps, heard = [], NullProgress()
    heard.evaluated = lambda done, total: steps.append((done, total))
    network, x, y = Convolution(), torch.randn(5, 3, 4, 4), torch.arange(5)
    evaluate(network, batches(x, y), NAMES, ALONE, "amp-bf16", listener=heard, of=5)
    assert (network.dtype, network.layout) == (torch.bfloat16, False)
    assert steps == [(3, 5), (5, 5)]
    evaluate(network, batches(x, y), NAMES, ALONE, "fp32", channels_last=True)
    assert (network.dtype, network.layout) == (torch.float32, True)


def test_batches_are_moved():
    (a, b), *_ = move_batches(
        [(torch.randn(2, 3, 4, 4), torch.arange(2))], torch.device("meta"), True
    )
    assert a.device.type == b.device.type == "meta"
    assert a.is_contiguous(memory_format=torch.channels_last)


def test_a_real_network_keeps_its_statistics():
    network = build(TINY)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    x = torch.randn(4, 3, 32, 32)
    found = evaluate(network, [(x, torch.arange(4) % 3)], "abc", ALONE, "fp32")
    assert found.n == 4 and found.top5 is None and network.training
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


def test_confusions_of_very_many_classes_are_not_counted():
    logits, labels = torch.eye(1001)[:4].reshape(4, 1, 1, 1001), torch.arange(1, 5)
    names = [str(i) for i in range(1001)]
    found = evaluate(Echo(), batches(logits, labels), names, ALONE, "fp32", confusions=True)
    assert found.top1 == 0 and all(c.confused_with is None for c in found.per_class)


def test_nothing_to_judge():
    with pytest.raises(TrainingError, match="needs an image"):
        evaluate(Echo(), [], NAMES, ALONE, "fp32")


def test_another_head():
    with pytest.raises(TrainingError, match=r"got \(8,\), the data has 3 classes"):
        evaluate(Echo(), batches(*images(4)), "abc", ALONE, "fp32")
