"""From a request to a config: the network made to fit the data, the recipe, what needs what."""

from dataclasses import replace

import pytest

from smt_nas.arch import PRESETS, preset
from smt_nas.errors import ConfigError, TrainingError
from smt_nas.train.data.sources import load_source
from smt_nas.train.recipe import load_recipe
from smt_nas.train.train_config import TrainRequest, adapt_architecture

REQUEST = TrainRequest("smt_micro", "digits", epochs=1)


@pytest.fixture(scope="module")
def digits():
    return load_source("digits")


def test_a_preset_gets_a_head_for_the_data_and_a_config_states_its_own(digits):
    recipe = load_recipe("small")
    arch = adapt_architecture("smt_t", PRESETS["smt_t"], recipe, digits, False)
    assert (arch.num_classes, arch.image_size) == (10, 224)
    with pytest.raises(TrainingError, match=r"net.yaml: num_classes must be .* \(got 1000, digits"):
        adapt_architecture("net.yaml", PRESETS["smt_t"], recipe, digits, False)
    arch = adapt_architecture("net.yaml", PRESETS["smt_t"], recipe, digits, True)
    assert arch.num_classes == 10


def test_the_recipe_decides_over_size_drop_path_and_layer_scale(digits):
    recipe = load_recipe("finetune-384", ["drop_path=0.25"])
    arch = adapt_architecture("smt_l", PRESETS["smt_l"], recipe, digits, False)
    assert (arch.image_size, arch.drop_path, arch.layer_scale) == (384, 0.25, 1e-4)
    plain = adapt_architecture("smt_l", PRESETS["smt_l"], load_recipe("imagenet1k"), digits, False)
    assert (plain.image_size, plain.drop_path, plain.layer_scale) == (224, 0.4, None)


@pytest.mark.parametrize(("name", "recipe"), [("smt_micro", "small"), ("smt_s", "own-images")])
def test_the_recipe_by_default_suits_the_size(digits, name, recipe):
    config = TrainRequest(name, "digits").to_config(preset(name), digits, 1)
    assert config.recipe_name == recipe


def test_fewer_epochs_than_the_warm_up_shorten_it(digits):
    config = TrainRequest("smt_s", "digits", epochs=3).to_config(PRESETS["smt_s"], digits, 8)
    assert (config.recipe.epochs, config.recipe.warmup_epochs) == (3, 0.3)
    with pytest.raises(ConfigError, match="--epochs 0: epochs must be"):
        TrainRequest("smt_s", "digits", epochs=0).to_config(PRESETS["smt_s"], digits, 8)


@pytest.mark.parametrize("change", [{"head_map": "rows.txt"}, {"init_shared": True}])
def test_words_about_first_weights_need_them(digits, change):
    with pytest.raises(ConfigError, match="Add --init"):
        replace(REQUEST, **change).to_config(preset("smt_micro"), digits, 1)


def test_an_update_of_the_same_images_by_other_processes(digits):
    eight = REQUEST.to_config(preset("smt_micro"), digits, 8)
    two = eight.for_processes(2)
    assert two.images_per_update == eight.images_per_update
    assert two.recipe.batch_size == 4 * eight.recipe.batch_size
    assert eight.for_processes(8) is eight
    with pytest.raises(TrainingError, match=r"must be a multiple of the processes \(got 7"):
        eight.for_processes(7)
