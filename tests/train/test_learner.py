"""One update: what is left out leaves no trace, and what follows is made as if nothing had been."""

from dataclasses import replace

import pytest
import torch

from smt_nas.models import build
from smt_nas.train.data.sources import load_source
from smt_nas.train.learner import build_learner
from smt_nas.train.train_config import RunOptions, TrainRequest
from tests.fakes.trainings import ALONE
from tests.fakes.weights import TINY

CHANGES = ("batch_size=4", "warmup_epochs=0", "ema.decay=0.9", "accumulation=2")


def learner_of(*changes):
    request = TrainRequest("tiny", "digits", changes=(*CHANGES, *changes))
    config = request.to_config(TINY, load_source("digits"), 1)
    model = build(config.arch, generator=torch.Generator().manual_seed(0))
    return build_learner(model, config, RunOptions(), ALONE, 10, None)


def batches(broken=False):
    images = torch.randn(2, 4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    if broken:
        images[1, 0, 0, 0, 0] = torch.inf
    return [(part, torch.arange(4)) for part in images]


def everything(learner):
    averaged = {f"ema.{k}": v for k, v in learner.ema.module.state_dict().items()}
    return {k: v.clone() for k, v in (learner.model.state_dict() | averaged).items()}


@pytest.mark.parametrize(("scaled", "clip"), [(False, "5.0"), (True, "null")])
def test_an_update_that_is_not_finite_leaves_no_trace(scaled, clip):
    learner = learner_of(f"optimizer.clip_norm={clip}")
    learner = replace(learner, scaler=torch.amp.GradScaler("cpu", enabled=scaled))
    _, made = learner.update(0, batches())
    before, scale = everything(learner), learner.scaler.get_scale()
    _, made_of_broken = learner.update(1, batches(broken=True))
    assert (made, made_of_broken) == (True, False)
    after = everything(learner)
    assert all(torch.equal(before[k], after[k]) for k in before)
    assert learner.scaler.get_scale() == (scale / 2 if scaled else scale)
    assert learner.update(2, batches())[1]
    assert any(not torch.equal(before[k], v) for k, v in everything(learner).items())


def test_gradients_too_large_for_a_norm_are_left_out_though_each_is_finite():
    learner = learner_of("optimizer.clip_norm=null")
    largest = 1e30  # its square is no float32

    def huge_loss(images, logits, targets):
        return sum((p * largest).sum() for p in learner.model.parameters())

    learner = replace(learner, loss=huge_loss)
    before = everything(learner)
    _, made = learner.update(0, batches())
    assert not made
    after = everything(learner)
    assert all(torch.equal(before[k], after[k]) for k in before)
