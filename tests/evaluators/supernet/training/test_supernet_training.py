"""Supernets of a second's length: killed, resumed, refused, exploded."""

import math
from contextlib import nullcontext
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest
import torch
from PIL import ImageOps
from safetensors.torch import load_file

from smt_nas.errors import ConfigError, SmtNasError, StoreError, TrainingError
from smt_nas.evaluators.supernet import (
    SupernetOptions,
    load_supernet,
    read_plan,
    train_supernet,
)
from smt_nas.evaluators.supernet.loss_log import read_losses
from smt_nas.evaluators.supernet.training import sandwich_step, supernet_training
from smt_nas.evaluators.supernet.training.sandwich_step import SandwichLearner, StepReport
from smt_nas.evaluators.supernet.training.supernet_state import PATIENCE, SupernetState
from smt_nas.files import locked
from smt_nas.train.data.examples import Subset
from smt_nas.train.processes.process_group import ProcessGroup
from smt_nas.train.recipe import load_recipe
from tests.fakes.supernets import (
    Relabelled,
    draw_archs,
    load_few_digits,
    make_space,
    train,
    write_space,
)
from tests.fakes.trainings import KillAt, Killed, StopAt


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Four steps in one go."""
    folder = tmp_path_factory.mktemp("supernets") / "whole"
    return folder, train(folder)


def _weights(folder):
    return load_file(folder / "supernet.safetensors")


def _assert_same_weights(one, other):
    ours, theirs = _weights(one), _weights(other)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_it_trains_to_its_end(whole):
    folder, result = whole
    assert (result.step, result.steps, result.interrupted, result.skipped) == (4, 4, False, 0)
    (row,) = read_losses(folder / "losses.csv")
    assert row.step == 4 and 1 < row.loss_big < 4 and row.kl >= 0
    assert result.coverage.steps == 4 and result.coverage.find_share("stage1 block 1 sam") == 1


def test_a_stopped_one_goes_on_to_the_same_bits(whole, tmp_path):
    folder = tmp_path / "stopped"
    result = train(folder, StopAt(2))
    assert (result.step, result.interrupted, result.stop_requested) == (2, True, True)
    train(folder)
    _assert_same_weights(whole[0], folder)


def test_minutes_are_planned_once_and_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(supernet_training, "_TRIAL_STEPS", 1)
    folder = tmp_path / "minutes"
    with pytest.raises(Killed):
        train(folder, KillAt(1), steps=None, minutes=0.001)
    plan = read_plan(folder)
    assert plan.steps >= 1 and plan.step_seconds > 0
    result = train(folder, steps=None, minutes=0.001, run={"until_step": 1})
    assert result.steps == plan.steps and read_plan(folder) == plan


def test_steps_and_minutes_together_are_refused():
    with pytest.raises(ValueError, match="say the same twice"):
        SupernetOptions(space="smt_micro", data="digits", steps=3, minutes=1.0)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"seed": 3}, r"holds a supernet with seed 0 \(got 3\)"),
        ({"changes": ("batch_size=16",)}, "holds a supernet with changes"),
    ],
)
def test_a_folder_goes_on_only_with_the_same_supernet(whole, options, told):
    with pytest.raises(StoreError, match=told):
        train(whole[0], **options)


def test_a_folder_with_a_supernet_of_another_space_is_refused(whole, tmp_path):
    other = write_space(tmp_path / "other.yaml", make_space(num_classes=10))
    with pytest.raises(StoreError, match="space digest"):
        train(whole[0], space=other, force=True)


def test_two_processes_in_one_folder_one_refuses(whole, monkeypatch):
    monkeypatch.setattr("smt_nas.files._ENDING_S", 0.0)
    with locked(whole[0], ""), pytest.raises(StoreError, match="another process is working in it"):
        train(whole[0])


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    with pytest.raises(StoreError, match=r"must be empty or new \(got notes\.txt\)"):
        train(tmp_path / "run")


def test_a_wide_space_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ConfigError, match="at most 16 times the MACs"):
        train(tmp_path / "run", space="smt_micro")
    assert not (tmp_path / "run").exists()


def test_a_refused_one_leaves_no_folder_that_was_made_for_it(tmp_path):
    options = SupernetOptions(space="smt_micro", data="digits", steps=1)
    with pytest.raises(ConfigError, match="at most 16 times the MACs"):
        train_supernet(options, tmp_path / "runs" / "sn", source=load_few_digits())
    assert list(tmp_path.iterdir()) == []


def test_steps_with_losses_that_are_not_finite_are_left_out_and_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(SandwichLearner, "_average_losses", _spoil({1, 2}))
    result = train(tmp_path / "run")
    assert (result.step, result.skipped, result.coverage.steps) == (4, 2, 2)
    assert all(value.isfinite().all() for value in _weights(tmp_path / "run").values())
    assert read_losses(tmp_path / "run" / "losses.csv")[0].skipped == 2


def _spoil(calls):
    """Losses of some calls are no numbers."""
    count = iter(range(10_000))

    def average(self, losses):
        loss, kl = losses.tolist()
        return (math.nan if next(count) in calls else loss), kl

    return average


def test_a_norm_far_above_those_before_is_left_out():
    learner = SandwichLearner(*[None] * 9, norms=[1.0] * sandwich_step.REMEMBERED)
    assert learner._is_sound(2.0, 0.1, 9.0)
    assert not learner._is_sound(2.0, 0.1, 11.0)
    assert not learner._is_sound(math.inf, 0.1, 1.0)


def test_exploded_losses_go_back_to_a_checkpoint_and_on_more_slowly(tmp_path, monkeypatch):
    monkeypatch.setattr("smt_nas.evaluators.supernet.training.supernet_state.PATIENCE", 2)
    monkeypatch.setattr(SandwichLearner, "_average_losses", _spoil({2, 3}))
    result = train(tmp_path / "run", run={"save_steps": 2})
    assert (result.step, result.rollbacks, result.skipped) == (4, 1, 2)
    assert load_supernet(tmp_path / "run").card.rollbacks == 1


def test_losses_that_explode_again_and_again_end_it(tmp_path, monkeypatch):
    monkeypatch.setattr("smt_nas.evaluators.supernet.training.supernet_state.PATIENCE", 1)
    monkeypatch.setattr(SandwichLearner, "_average_losses", _spoil(range(10_000)))
    with pytest.raises(TrainingError, match=r"step 1: losses must stay near .* Lower the rate"):
        train(tmp_path / "run")


class _Sealed:
    """A split that may not be looked at."""

    def __getattr__(self, name):
        raise AssertionError(f"the test split was opened: {name}")


def test_the_precision_of_the_recipe_is_set_on_a_gpu_alone(monkeypatch):
    """No GPU is needed: what would set it is looked at."""
    monkeypatch.setattr(supernet_training, "apply_torch_settings", lambda *words: words)
    recipe = load_recipe("supernet", ["precision=tf32"])
    cuda = torch.device("cuda")
    conditions, device = supernet_training._use_precision(recipe, cuda)
    assert (conditions.precision, device) == ("tf32", cuda)
    assert isinstance(supernet_training._use_precision(recipe, torch.device("cpu")), nullcontext)


def test_a_precision_that_a_cpu_does_not_have_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(SmtNasError, match="tf32"):
        train(tmp_path / "run", changes=("batch_size=8", "precision=tf32"))
    assert not (tmp_path / "run").exists()


def test_processes_that_see_other_checkpoints_are_refused(tmp_path, monkeypatch):
    """As where each machine has a folder of its own."""
    train(tmp_path / "run", run={"until_step": 1})

    def broadcast(self, value):
        return 3 if type(value) is int else value

    monkeypatch.setattr(ProcessGroup, "broadcast", broadcast)
    with pytest.raises(StoreError, match=r"got one of update 1, process 0 has 3\)"):
        train(tmp_path / "run")


def test_a_full_gpu_is_one_line_with_a_way_out_that_a_supernet_has(tmp_path, monkeypatch):
    def fail(*words):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(SandwichLearner, "train_step", fail)
    with pytest.raises(TrainingError, match=r"at batch_size 8\)\. .*…, in another --out\.$"):
        train(tmp_path / "run")


def test_the_test_split_stays_shut(tmp_path):
    source = replace(load_few_digits(), test=_Sealed())
    train(tmp_path / "run", source=source, steps=1)
    supernet = load_supernet(tmp_path / "run", "cpu", source)
    assert len(supernet.evaluate(draw_archs(supernet.space, 1))) == 1


def test_a_recipe_of_another_content_is_refused(tmp_path):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(files("smt_nas").joinpath("data/recipes/supernet.yaml").read_text())
    train(tmp_path / "run", recipe=str(recipe), run={"until_step": 1})
    recipe.write_text(recipe.read_text().replace("split_seed: 0", "split_seed: 7"))
    with pytest.raises(StoreError, match=r"recipe split_seed 0 \(got 7\)"):
        train(tmp_path / "run", recipe=str(recipe))


@pytest.mark.parametrize("what", ["images", "validation"])
def test_other_data_of_the_same_training_labels_are_refused(whole, what):
    source = load_few_digits()
    own = source.train
    others = {"images": {"train": Inverted(own, own.labels)}}
    others["validation"] = {"validation": Subset(own, np.arange(20))}
    supernet = load_supernet(whole[0], "cpu", replace(source, **others[what]))
    with pytest.raises(StoreError, match="must hold the images that it was trained on"):
        supernet.evaluate(draw_archs(supernet.space, 1))


class Inverted(Relabelled):
    """Images whose colours are turned round."""

    def image(self, i):
        return ImageOps.invert(super().image(i))


def _report(loss, is_updated=True):
    return StepReport(loss, 0.1, 1.0, is_updated, 1e-3)


def test_a_loss_back_at_chance_counts_as_bad_once_something_was_learnt():
    state = SupernetState(chance=math.log(10))
    for loss in [2.3] * 40:
        state.add(_report(loss), 0.1)
    assert state.bad_in_a_row == 0  # at the start all are at chance
    for loss in [1.0] * 200:
        state.add(_report(loss), 0.1)
    for loss in [2.29] * PATIENCE:
        state.add(_report(loss), 0.1)
    assert state.has_exploded


def test_a_stop_amid_bad_losses_is_saved_but_not_gone_back_to(tmp_path, monkeypatch):
    monkeypatch.setattr("smt_nas.evaluators.supernet.training.supernet_state.PATIENCE", 2)
    monkeypatch.setattr(SandwichLearner, "_average_losses", _spoil({2}))
    stopped = train(tmp_path / "run", StopAt(3), run={"save_steps": 2})
    assert (stopped.step, stopped.skipped) == (3, 1)
    assert (tmp_path / "run" / "checkpoints" / "update-0000003").is_dir()
    monkeypatch.setattr(SandwichLearner, "_average_losses", _spoil({0}))
    result = train(tmp_path / "run", run={"save_steps": 2})
    assert (result.step, result.rollbacks, result.skipped) == (4, 1, 2)


@pytest.mark.parametrize("change", ["eval_every=2", "max_nonfinite=3"])
def test_fields_without_an_effect_are_refused_or_said(change):
    values = {"space": "smt_micro", "data": "digits"}
    with pytest.raises(ConfigError, match=rf"{change}\): .* Leave it out"):
        SupernetOptions(**values, changes=(change,)).load_recipe()
    options = SupernetOptions(**values, recipe="bench")
    (said,) = options.describe_unused(options.load_recipe())
    assert said.startswith("eval_every of recipe bench has no effect: nothing is evaluated")
    own = SupernetOptions(**values)
    assert own.describe_unused(own.load_recipe()) == []


def test_epochs_keep_the_share_of_the_warm_up():
    whole, one = (
        SupernetOptions(space="smt_micro", data="digits", epochs=epochs).load_recipe()
        for epochs in (None, 1)
    )
    assert one.epochs == 1
    assert one.warmup_epochs / one.epochs == whole.warmup_epochs / whole.epochs > 0
