"""What a training is warned of; and that one on 300 pictures needs no warning."""

import json
from dataclasses import replace

import pytest

from smt_nas.runtime.progress import EpochMetrics, NullProgress
from smt_nas.train.evaluation import standard_error
from smt_nas.train.planning.training_warnings import list_plan_warnings, list_result_warnings
from smt_nas.train.recipe import load_recipe
from smt_nas.train.train_config import TrainRequest
from tests.fakes.images import few_digits
from tests.fakes.shapes import shapes
from tests.fakes.terminal import invoke
from tests.fakes.trainings import SHORT, start


def kinds(warnings):
    return [warning.kind for warning in warnings]


def test_a_plan_is_warned_of_few_updates_few_images_and_a_slow_average():
    recipe = load_recipe("small")
    assert kinds(list_plan_warnings(recipe, 4, 30)) == ["few_updates", "few_held_out"]
    assert list_plan_warnings(recipe, 200, 100) == ()
    assert list_plan_warnings(recipe, 4, 100, fresh=False) == ()  # weights that were trained
    averaged = load_recipe("small", ["ema.decay=0.9999"])
    assert kinds(list_plan_warnings(averaged, 2000, 100)) == ["short_average"]
    warm = load_recipe("small", ["ema.decay=0.9999", "ema.warmup=true"])
    assert list_plan_warnings(warm, 2000, 100) == ()
    assert list_plan_warnings(averaged, 10_000, 100) == ()


def epochs(*losses, top1=0.9, updates=1000):
    rows = [EpochMetrics(i, updates, train_loss=x, val_top1=top1) for i, x in enumerate(losses, 1)]
    return rows, rows[-1] if rows else None


@pytest.mark.parametrize(
    ("losses", "more", "n", "expected"),
    [
        ((2.0, 1.0), {}, 500, []),
        ((2.0, 1.0), {"top1": 0.22}, 500, ["chance"]),
        ((2.0, 1.0), {"top1": 0.3}, 500, []),
        ((2.0, 1.0), {"top1": 0.3}, 30, ["chance", "few_held_out"]),
        ((2.0, 1.0, 2.5), {}, 500, ["loss_rose"]),
        ((2.0, 1.0, 1.9), {}, 500, ["loss_rose"]),
        ((2.0, 1.0, 1.4), {}, 500, []),
        ((0.5, 0.51), {}, 500, []),
        ((2.0,), {"updates": 4}, 500, ["few_updates"]),
        ((), {}, 500, []),
    ],
)
def test_a_result_is_warned_of_chance_and_of_a_loss_that_rose(losses, more, n, expected):
    history, best = epochs(*losses, **more)
    assert kinds(list_result_warnings(history, best, n, 0.2)) == expected


@pytest.mark.parametrize(
    ("losses", "warned"),
    [
        ((122.0,), True),
        ((122.0, 28.0, 4.4), True),  # it only falls, from where the first updates threw it
        ((1.7, 1.65), False),
        ((122.0, 1.5), False),
        ((0.004, 0.003, 0.007), False),  # as good as nothing
    ],
)
def test_a_loss_far_above_that_of_guessing_has_risen_in_its_first_epoch(losses, warned):
    history, best = epochs(*losses)
    assert kinds(list_result_warnings(history, best, 500, 0.2, 1.609)) == ["loss_rose"] * warned


def test_the_standard_error_is_not_nothing_where_all_are_right():
    assert standard_error(1.0, 30) == pytest.approx(0.029, abs=1e-3)
    assert standard_error(0.5, 30) == pytest.approx(0.0861, abs=1e-3)


class Heard(NullProgress):
    """Keeps the kinds of warnings."""

    def __init__(self):
        self.kinds = []

    def warn(self, warning):
        self.kinds.append(warning.kind)


def test_a_training_says_it_before_it_begins_and_when_the_loss_rises(tmp_path):
    with few_digits(10):
        heard = Heard()
        wild = replace(SHORT, changes=("batch_size=40", "lr=1.0", "warmup_epochs=2"), epochs=3)
        result = start(wild, tmp_path / "run", False, heard)
    assert heard.kinds[0] == "few_updates"
    assert "loss_rose" in heard.kinds and "loss_rose" in kinds(result.warnings)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return shapes(tmp_path_factory.mktemp("shapes"), 300)


def test_the_plan_for_300_pictures_is_useful(pictures, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    words = ("train", "smt_t", "--data", pictures, "--dry-run", "--json")
    plan = json.loads(invoke(*words).stdout)
    assert (plan["recipe_name"], plan["recipe_chosen"]) == ("own-images", True)
    assert plan["updates"] >= 1000 and plan["batch"] == 16
    assert kinds_of(plan) == ["few_held_out"]
    plan = json.loads(invoke(*words, "--recipe", "imagenet1k", "--epochs", 2).stdout)
    assert (plan["recipe_name"], plan["recipe_chosen"], plan["batch"]) == ("imagenet1k", False, 128)
    assert plan["updates"] == 4 and kinds_of(plan) == ["few_updates", "few_held_out"]


def kinds_of(document):
    return [warning["kind"] for warning in document["warnings"]]


def test_300_pictures_are_learnt(pictures, tmp_path):
    """Five classes, a fifth by chance; a third of the epochs that the recipe makes of them."""
    request = TrainRequest("smt_micro", str(pictures), epochs=4)
    result = start(request, tmp_path / "run", arch=None)
    assert result.best.val_top1 > 0.5
    assert "chance" not in kinds(result.warnings)
