"""Which recipe a training gets where none is named, and how it is fitted to the images."""

from dataclasses import replace

import numpy as np
import pytest

from smt_nas.arch import preset
from smt_nas.train.data.sources import load_source
from smt_nas.train.planning.recipe_choice import (
    FEW_UPDATES,
    choose_recipe,
    fit_recipe,
    list_fixed_fields,
)
from smt_nas.train.recipe import load_recipe
from smt_nas.train.train_config import TrainRequest
from tests.fakes.images import array


def source_of(images, classes=5):
    """Digits, but so many images of so many classes."""
    examples = array(images, classes=classes)
    names = tuple(map(str, range(classes)))
    return replace(load_source("digits"), train=examples, classes=names, validation=None)


def config_of(name, images, processes=1, **request):
    source = source_of(images)
    return TrainRequest(name, "digits", **request).to_config(preset(name), source, processes)


def updates_of(config, images):
    held_out = config.recipe.validation
    return config.recipe.epochs * int(images * (1 - held_out) // config.images_per_update)


@pytest.mark.parametrize(
    ("size", "images", "from_weights", "name"),
    [
        (32, 300, False, "small"),
        (64, 50_000, False, "small"),
        (65, 300, False, "own-images"),
        (224, 9_999, False, "own-images"),
        (224, 1_281_167, False, "imagenet1k"),
        (32, 300, True, "finetune"),
        (224, 1_281_167, True, "finetune"),
    ],
)
def test_a_recipe_suits_size_images_and_first_weights(size, images, from_weights, name):
    assert choose_recipe(size, images, from_weights) == name


@pytest.mark.parametrize(
    ("name", "request_", "fewest"),
    [
        ("smt_t", {}, 1000),
        ("smt_micro", {}, FEW_UPDATES),
        ("smt_micro", {"changes": ("image_size=96",)}, 1000),
        ("smt_t", {"init": "w.pth"}, 400),
        ("smt_t", {"init": "w.pth", "init_shared": True}, 400),
    ],
)
@pytest.mark.parametrize("images", [40, 300, 2000])
def test_few_images_make_some_hundred_updates(name, request_, fewest, images):
    config = config_of(name, images, **request_)
    assert fewest <= updates_of(config, images) < 8 * fewest
    named = load_recipe(config.recipe_name)
    factor = (config.recipe.batch_size / named.batch_size) ** 0.5
    assert config.recipe.optimizer.lr == pytest.approx(named.optimizer.lr * factor, rel=0.05)


@pytest.mark.parametrize("name", ["smt_t", "smt_micro"])
def test_processes_share_the_images_of_an_update(name):
    one, two = (config_of(name, 300, processes) for processes in (1, 2))
    assert two.images_per_update == one.images_per_update
    parts = {"batch_size": one.recipe.batch_size}
    assert two.recipe.model_copy(update=parts) == one.recipe


def test_many_processes_do_not_raise_the_rate_of_a_fitted_recipe():
    config = config_of("smt_t", 9000, 8)
    assert config.images_per_update > load_recipe("own-images").batch_size
    assert config.recipe.optimizer == load_recipe("own-images").optimizer


def test_enough_images_leave_the_recipe_as_it_is():
    config = config_of("smt_micro", 5000)
    assert config.recipe == load_recipe("small")


@pytest.mark.parametrize("name", ["imagenet1k", "small", "own-images", "finetune"])
def test_a_recipe_that_is_named_is_taken_as_it_is(name):
    assert config_of("smt_t", 300, recipe=name).recipe == load_recipe(name)


def test_what_the_user_decides_stays():
    changes = ("batch_size=32", "lr=7e-4")
    recipe = config_of("smt_t", 300, changes=changes, epochs=2).recipe
    assert (recipe.batch_size, recipe.optimizer.lr, recipe.epochs) == (32, 7e-4, 2)
    assert list_fixed_fields(changes, 2) == {"batch_size", "optimizer.lr", "epochs"}
    recipe = config_of("smt_t", 300, changes=("batch_size=32",)).recipe
    assert recipe.epochs * (240 // 32) >= 1000 and recipe.optimizer.lr == 1e-3


def test_a_batch_stays_even_where_batches_are_mixed():
    mixed = load_recipe("small", ["mixup=0.2"])
    for images in range(2, 60):
        assert fit_recipe(mixed, "small", images, 1, frozenset()).batch_size % 2 == 0


def test_the_sample_of_a_recipe_counts():
    config = config_of("smt_micro", 5000, changes=("images=240",))
    assert config.recipe.epochs * (240 // config.recipe.batch_size) >= FEW_UPDATES
    assert np.isclose(config.recipe.optimizer.lr, 4e-3 / 8**0.5, rtol=0.05)
