"""`smt-nas recipes`: the list, every value of one, and changes to it."""

import json

import pytest

from smt_nas.report.train.recipes import recipes_table
from smt_nas.train.recipe import load_recipe, recipe_names
from tests.fakes.terminal import invoke, printed


def test_the_list():
    found = json.loads(invoke("recipes", "--json").stdout)
    assert found["schema"] == 1
    assert [r["name"] for r in found["recipes"]] == recipe_names()
    by_name = {r["name"]: r for r in found["recipes"]}
    assert (by_name["imagenet1k"]["epochs"], by_name["finetune-384"]["image_size"]) == (300, 384)
    assert len(invoke("recipes").stdout.splitlines()) == 2 + len(recipe_names())


def test_the_list_fits_80_columns():
    text = printed(recipes_table({name: load_recipe(name) for name in recipe_names()}))
    assert all(name in text for name in recipe_names())


def test_what_is_shown_can_be_used(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(invoke("recipes", "show", "small").stdout, encoding="utf-8")
    assert load_recipe(path) == load_recipe("small")
    shown = json.loads(invoke("recipes", "show", "small", "--json").stdout)
    assert shown["recipe"] == load_recipe("small").model_dump(mode="json")


def test_changes_are_shown():
    text = invoke("recipes", "show", "small", "--set", "optimizer.lr=3e-3", "--set", "epochs=5")
    assert "lr: 0.003" in text.stdout and "epochs: 5" in text.stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["smal"], "Did you mean 'small'?"),
        (["small", "--set", "optimizer.lr=nan"], "must be a finite number"),
        (["/nowhere/x.yaml"], "cannot be read"),
    ],
)
def test_refusals_are_one_line(words, told):
    result = invoke("recipes", "show", *words, code=1)
    assert told in result.stderr and len(result.stderr.strip().splitlines()) == 1
