"""One update: what is left out leaves no trace, and what follows is made as if nothing had been."""

from dataclasses import replace

import pytest
import torch

from smt_nas.errors import ConfigError
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


def test_an_average_that_warms_up_follows_the_number_of_the_update():
    """timm's update leaves warming up out where it is told no number; its first two steps copy."""
    learner = learner_of("ema.decay=0.9999", "ema.warmup=true", "accumulation=1")
    for number in range(3):
        before = learner.ema.module.head.weight.clone()
        assert learner.update(number, batches()[:1])[1]
        decay = 0 if number == 0 else 1 - (1 + number) ** (-2 / 3)
        expected = decay * before + (1 - decay) * learner.model.head.weight
        assert torch.allclose(learner.ema.module.head.weight, expected, atol=1e-6)


@pytest.mark.parametrize("change", ["augment.mix_prob=0", "augment.mixup=0"])
def test_nothing_is_mixed_where_nothing_is_asked_for(change):
    """timm's Mixup asserts that one of its alphas is above 0, and takes even batches alone."""
    assert learner_of(change, "augment.cutmix=0", "batch_size=3").mixup is None


@pytest.mark.parametrize("changes", [("mixup=0.8",), ("cutmix=1.0",), ("mixup=0.8", "cutmix=1.0")])
def test_batches_are_mixed_by_either_alpha_and_are_even(changes):
    learner = learner_of(*changes)
    assert learner.mixup is not None and learner.update(0, batches())[1]
    with pytest.raises(ConfigError, match="batch_size must be even"):
        learner_of(*changes, "batch_size=3")
