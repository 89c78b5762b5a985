"""YAML: the same numbers in every file, and what may be meant by a field that is not known."""

import pytest
import yaml

from smt_nas.arch import PRESETS, Architecture, load_arch
from smt_nas.errors import ConfigError
from smt_nas.space import SearchSpace
from smt_nas.train.recipe import Recipe, load_recipe
from smt_nas.yaml import SafeDumper, _Dumper, parse_value, read_yaml, to_yaml, validated

NUMBERS = {
    "1e-4": 1e-4,
    "1E5": 1e5,
    "+1e3": 1e3,
    "-2e-3": -2e-3,
    "1.5e3": 1.5e3,
    "1.e2": 1e2,
    ".5e1": 5.0,
    "1.0e-4": 1e-4,
    "3": 3,
    "0.25": 0.25,
}


@pytest.mark.parametrize("text", NUMBERS)
def test_a_number_is_one_with_and_without_a_dot(text, tmp_path):
    (tmp_path / "a.yaml").write_text(f"plain: {text}\nquoted: '{text}'\nlist: [{text}]\n")
    values = read_yaml(tmp_path / "a.yaml")
    assert values == {"plain": NUMBERS[text], "quoted": text, "list": [NUMBERS[text]]}
    assert type(values["plain"]) is type(parse_value(text)) is type(NUMBERS[text])


@pytest.mark.parametrize(
    "text", ["e5", "1e", "1e-", "0x1e4", "1e4f", "a1e4", "123456789e12", "1-4"]
)
def test_other_words_stay_text(text, tmp_path):
    """A key of a network is 12 hex digits, and older files hold it without quotes."""
    (tmp_path / "a.yaml").write_text(f"key: {text}\n")
    assert read_yaml(tmp_path / "a.yaml")["key"] in (text, 0x1E4)


@pytest.mark.parametrize("text", ["1e-4", "1E5", "123e4", "yes", "12", "1.5"])
def test_texts_come_back_as_texts(text, tmp_path):
    (tmp_path / "a.yaml").write_text(to_yaml({"text": text, "texts": [text]}))
    assert read_yaml(tmp_path / "a.yaml") == {"text": text, "texts": [text]}


def test_networks_spaces_and_recipes_take_the_same_numbers(tmp_path):
    arch = tmp_path / "net.yaml"
    arch.write_text(PRESETS["smt_t"].to_yaml().replace("layer_scale: null", "layer_scale: 1e-4"))
    assert load_arch(arch).layer_scale == 1e-4
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(load_recipe("small").to_yaml().replace("eps: 1.0e-08", "eps: 1e-8"))
    assert load_recipe(recipe) == load_recipe("small")
    shipped = SearchSpace.load("smt_micro")
    text = to_yaml(shipped.config.model_dump(mode="json", by_alias=True))
    space = tmp_path / "space.yaml"
    space.write_text(text.replace("layer_scale: null", "layer_scale: 1e-4"))
    assert SearchSpace.load(space).config.layer_scale == 1e-4


@pytest.mark.parametrize(
    ("model", "values", "told"),
    [
        (Recipe, {"lr": 1}, "lr is not a known field. Did you mean 'optimizer.lr'?"),
        (Recipe, {"interpolation": 1}, "'augment.interpolation' or 'evaluation.interpolation'?"),
        (Recipe, {"optimizer": {"lrr": 1}}, "optimizer.lrr is not .* Did you mean 'lr'?"),
        (Recipe, {"optimizer": {"mixup": 1}}, "Did you mean 'augment.mixup'?"),
        (Recipe, {"qqq": 1}, "Known: description, source, epochs"),
        (Architecture, {"kernels": [3]}, r"Did you mean 'stages\[\].kernels'?"),
        (Architecture, {"stages": [{"kernel": [3]}]}, "kernel is not .* Did you mean 'kernels'?"),
    ],
)
def test_a_field_that_is_not_known_is_answered_with_another(model, values, told):
    with pytest.raises(ConfigError, match=told.replace("?", r"\?")):
        validated(model, values, "file")


def test_a_model_config_holds_no_field_without_effect(tmp_path):
    values = parse_value(PRESETS["smt_t"].to_yaml())
    assert "head_dim" not in values["stages"][0] and "kernels" in values["stages"][0]
    assert "kernels" not in values["stages"][3] and "expand_ratio" not in values["stages"][3]
    last = PRESETS["smt_t"].stages[3].model_copy(update={"kernels": (3,)})
    odd = PRESETS["smt_t"].model_copy(update={"stages": (*PRESETS["smt_t"].stages[:3], last)})
    odd.save(tmp_path / "odd.yaml")
    assert load_arch(tmp_path / "odd.yaml").key == odd.key == PRESETS["smt_t"].key


class _PlainDumper(SafeDumper):
    """PyYAML's own, with the numbers that are read here."""

    yaml_implicit_resolvers = _Dumper.yaml_implicit_resolvers


def test_what_is_written_is_what_pyyaml_writes():
    shared = [1, 2]
    values = [
        *(arch.to_values() for arch in PRESETS.values()),
        {"a": shared, "b": shared, "c": {"d": shared, "e": None, "f": ()}},
        ["1e3", "yes", "0x1", "a: b", "", " x", "2026-01-01", "~", True, 1, 1.0, 1e-7, -0.0],
        {"inf": float("inf"), "nan": float("nan"), 3: "int", "text": "long words " * 30},
    ]
    for value in [*values, values]:
        plain = yaml.dump(
            value, Dumper=_PlainDumper, sort_keys=False, default_flow_style=None, width=100
        )
        assert to_yaml(value) == plain
