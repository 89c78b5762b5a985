"""A constant rate: how it rises, stays and falls; recipes that do not use it stay as they were."""

import pytest
import torch

from smt_nas.errors import ConfigError
from smt_nas.train.learner import create_scheduler
from smt_nas.train.recipe import Recipe, apply_changes, load_recipe

CONSTANT = Recipe(
    epochs=10,
    warmup_epochs=0.5,
    schedule="constant",
    optimizer={"lr": 1.0, "lr_per": None, "warmup_lr": 0.0, "min_lr": 0.1},
)


def rates(recipe, updates=10, groups=({},)):
    weights = [{"params": [torch.nn.Parameter(torch.zeros(1))], **group} for group in groups]
    optimizer = torch.optim.SGD(weights, lr=recipe.optimizer.lr)
    scheduler = create_scheduler(optimizer, recipe, 128, updates)
    found = []
    for update in range(recipe.epochs * updates):
        scheduler.step_update(update)
        found.append([group["lr"] for group in optimizer.param_groups])
    return torch.tensor(found).squeeze(1) if len(groups) == 1 else torch.tensor(found)


def test_it_rises_in_a_line_stays_and_falls_in_a_line():
    found = rates(CONSTANT)
    assert found[:6].tolist() == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
    assert (found[5:81] == 1).all()
    assert found[81:].diff().tolist() == pytest.approx([-0.9 / 20] * 18, rel=1e-4)
    assert found[-1] == pytest.approx(0.1 + 0.9 / 20)


def test_before_their_cooldowns_trainings_of_any_length_have_the_same_rates():
    short = rates(CONSTANT.model_copy(update={"epochs": 3}))
    assert CONSTANT.model_copy(update={"epochs": 3}).find_fall(10) == 24
    assert torch.equal(short[:24], rates(CONSTANT)[:24])


def test_layers_keep_their_own_factor():
    found = rates(CONSTANT, groups=({"lr_scale": 0.5}, {}))
    assert torch.equal(found[:, 0], found[:, 1] / 2)


def test_it_is_the_schedule_that_newer_timm_has():
    scheduler = pytest.importorskip("timm.scheduler.wsd_lr", reason="older timm has none")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = scheduler.WSDLRScheduler(
        optimizer, 95, 20, lr_min=0.1, decay_fn="linear", warmup_t=5, t_in_epochs=False
    )
    found = []
    for update in range(100):
        theirs.step_update(update)
        found.append(optimizer.param_groups[0]["lr"])
    assert rates(CONSTANT).tolist() == pytest.approx(found)


def test_recipes_without_it_are_written_as_before():
    assert not {"schedule", "cooldown"} & load_recipe("bench").model_dump().keys()
    assert CONSTANT.model_dump()["schedule"] == "constant"
    changed = apply_changes(load_recipe("bench"), ["schedule=constant", "cooldown=0.5"])
    assert (changed.schedule, changed.cooldown) == ("constant", 0.5)


def test_warm_up_and_cooldown_must_fit():
    with pytest.raises(ConfigError, match="warmup_epochs and cooldown must fit into epochs"):
        apply_changes(CONSTANT, ["cooldown=0.96"])
    with pytest.raises(ConfigError, match="schedule must be"):
        apply_changes(CONSTANT, ["schedule=linear"])


def test_a_cooldown_has_an_update_at_least():
    """Else a training would have nothing left to do where it branches off."""
    assert apply_changes(CONSTANT, ["epochs=1", "warmup_epochs=0"]).find_fall(2) == 1


def test_a_cooldown_without_a_constant_rate_is_refused():
    with pytest.raises(ConfigError, match="cooldown is of a constant rate"):
        apply_changes(load_recipe("bench"), ["cooldown=0.5"])
