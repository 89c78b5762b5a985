"""One step: which tensors move, and that processes share it as one would make it."""

import math

import pytest
import torch
import torch.nn.functional as F

from smt_nas.evaluators.supernet.training.sandwich_step import build_sandwich_learner
from smt_nas.models.supernet import list_windows
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
