"""One step: which tensors move, and that processes share it as one would make it."""

import math
import threading

import pytest
import torch
import torch.nn.functional as F

from smt_nas.evaluators.supernet import sandwich_step
from smt_nas.evaluators.supernet.sandwich_step import build_sandwich_learner
from smt_nas.models.supernet import list_windows, weight_store
from smt_nas.train.processes.process_group import ProcessGroup
from smt_nas.train.recipe import load_recipe
from tests.fakes.supernets import draw_archs, draw_images, make_small_space, make_store
from tests.fakes.trainings import ALONE

SPACE = make_small_space()
RECIPE = load_recipe("supernet", ["warmup_epochs=0", "optimizer.lr=1e-2"])


def _learner(group=ALONE, recipe=RECIPE):
    return build_sandwich_learner(make_store(SPACE), recipe, group, 100)


def _batch(n=8, seed=0):
    return draw_images(n, seed=seed), torch.arange(n) % 10


def test_tensors_that_no_network_of_the_step_has_rest():
    learner, archs = _learner(), draw_archs(SPACE, 4)
    own = [arch.model_copy(update={"drop_path": 0.0}) for arch in archs]
    for step in range(2):  # the second would move by the momentum of the first
        networks = own if step == 0 else [own[0]] * 4
        before = {n: t.detach().clone() for n, t in learner.store.named_tensors().items()}
        assert learner.train_step(step, networks, [_batch()]).is_updated
        taken = {w.name for a in networks for ws in list_windows(a).values() for w in ws}
        for name, tensor in learner.store.named_tensors().items():
            if name not in taken:
                assert torch.equal(tensor, before[name]), name
        moved = [n for n in taken if not torch.equal(before[n], learner.store.named_tensors()[n])]
        assert len(moved) > 0.9 * len(taken)


def test_losses_are_of_the_labels_and_of_the_big_network():
    learner, (big, *others) = _learner(), draw_archs(SPACE, 4)
    images, labels = _batch()
    with torch.no_grad():
        logits = [learner.store.train()(arch, images) for arch in (big, *others)]
    soft = logits[0].log_softmax(1)
    kl = [F.kl_div(own.log_softmax(1), soft, reduction="batchmean", log_target=True)
          for own in logits[1:]]  # fmt: skip
    report = learner.train_step(0, [big, *others], [(images, labels)])
    expected = F.cross_entropy(logits[0], labels, label_smoothing=0.1)
    assert report.loss_big == pytest.approx(float(expected), rel=1e-5)
    assert report.kl == pytest.approx(float(torch.stack(kl).mean()), rel=1e-4)


def test_a_step_that_is_left_out_changes_nothing():
    learner, archs = _learner(), draw_archs(SPACE, 4)
    before = {n: t.detach().clone() for n, t in learner.store.named_tensors().items()}
    images, labels = _batch()
    report = learner.train_step(0, archs, [(images * math.nan, labels)])
    assert not report.is_updated
    assert all(torch.equal(t, before[n]) for n, t in learner.store.named_tensors().items())


def test_two_processes_make_the_step_that_one_makes_of_all_images(monkeypatch):
    """Batch norms, which take the statistics of a process's own images, are held fixed."""
    archs = draw_archs(SPACE, 4)
    images, labels = _batch(16)
    alone = _step_in_eval_mode(_learner(), archs, images, labels)
    groups, learners = _Threads(2), {}
    monkeypatch.setattr(sandwich_step, "dist", groups)
    for name in ("network", "block", "embed"):  # threads may not share what is swapped
        build = getattr(weight_store, f"_build_meta_{name}").__wrapped__
        monkeypatch.setattr(weight_store, f"_build_meta_{name}", build)

    def run(rank):
        groups.local.rank = rank
        learner = _learner(_Group(rank, 2, torch.device("cpu")))
        half = slice(8 * rank, 8 * rank + 8)
        learners[rank] = _step_in_eval_mode(learner, archs, images[half], labels[half])

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name, tensor in alone.items():
        assert torch.equal(learners[0][name], learners[1][name])
        torch.testing.assert_close(learners[0][name], tensor, rtol=1e-4, atol=1e-5)


class _Group(ProcessGroup):
    """Losses stay each one's own: they are only told."""

    def all_reduce(self, *values):
        return tuple(2 * value for value in values)


class _Threads:
    """Sums tensors over threads, as torch.distributed does over processes."""

    def __init__(self, size):
        self.barrier, self.local = threading.Barrier(size, timeout=60), threading.local()
        self.parts = [None] * size

    def all_reduce(self, tensor):
        self.parts[self.local.rank] = tensor.clone()
        self.barrier.wait()
        tensor.copy_(torch.stack(self.parts).sum(0))
        self.barrier.wait()


def _step_in_eval_mode(learner, archs, images, labels):
    """The gradients of a step with fixed batch norms."""
    learner.store.train = lambda mode=True: torch.nn.Module.train(learner.store, False)
    learner.optimizer.step = lambda: None
    learner.optimizer.zero_grad = lambda set_to_none: None
    learner.train_step(0, archs, [(images, labels)])
    tensors = learner.store.named_tensors().items()
    return {name: tensor.grad for name, tensor in tensors if tensor.grad is not None}
