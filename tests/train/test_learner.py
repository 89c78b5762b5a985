"""One update: what is left out leaves no trace, and what is asked for repeats its bits."""

import os
from dataclasses import replace

import pytest
import torch

from smt_nas.arch import preset
from smt_nas.models import build
from smt_nas.train.assemble import assemble
from smt_nas.train.data.sources import load_source
from smt_nas.train.loop import _bits
from smt_nas.train.process_group import World
from smt_nas.train.run import Asked
from smt_nas.train.settings import How

ALONE = World(0, 1, torch.device("cpu"))
CHANGES = ("batch_size=4", "warmup_epochs=0", "ema.decay=0.9", "accumulation=2")


def made(*changes):
    source = load_source("digits")
    asked = Asked("smt_micro", "digits", changes=(*CHANGES, *changes))
    settings = asked.settings(preset("smt_micro"), source, 1)
    model = build(settings.arch, generator=torch.Generator().manual_seed(0))
    return assemble(model, settings, How(), ALONE, 10, None)


def batches(broken=False):
    images = torch.randn(2, 4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    if broken:
        images[1, 0, 0, 0, 0] = torch.inf
    return [(part, torch.arange(4)) for part in images]


def everything(learner):
    state = learner.model.state_dict() | {
        f"ema.{k}": v for k, v in learner.ema.module.state_dict().items()
    }
    return {k: v.clone() for k, v in state.items()}


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("clip", ["5.0", "null"])
def test_an_update_that_is_not_finite_leaves_no_trace(scaled, clip):
    learner = made(f"optimizer.clip_norm={clip}")
    learner = replace(learner, scaler=torch.amp.GradScaler("cpu", enabled=scaled))
    _, done = learner.update(0, batches())
    before, scale = everything(learner), learner.scaler.get_scale()
    _, again = learner.update(1, batches(broken=True))
    assert (done, again) == (True, False)
    after = everything(learner)
    assert all(torch.equal(before[k], after[k]) for k in before)
    assert learner.scaler.get_scale() == (scale / 2 if scaled else scale)
    assert learner.update(2, batches())[1]
    assert any(not torch.equal(before[k], v) for k, v in everything(learner).items())


def test_gradients_too_large_for_a_norm_are_left_out_though_each_is_finite(monkeypatch):
    learner = made("optimizer.clip_norm=null")
    learner = replace(learner, scaler=torch.amp.GradScaler("cpu", init_scale=1.0))
    before = everything(learner)
    for p in learner.model.parameters():
        p.grad = torch.full_like(p, 1e30)
    learner.scaler.scale(torch.ones(1))  # as a step does; it makes the scale
    assert not learner._apply()
    after = everything(learner)
    assert all(torch.equal(before[k], after[k]) for k in before)


def test_deterministic_asks_all_that_a_gpu_needs(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    with _bits(True):
        assert torch.are_deterministic_algorithms_enabled()
        assert (torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark) == (True, False)
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.backends.cudnn.benchmark
