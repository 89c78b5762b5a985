"""What networks and spaces are known by stays what it was, whatever fields are added."""

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import pytest
from pydantic import ValidationError

from smt_nas import PRESETS, SearchSpace, costs
from smt_nas.arch import SMALL_PRESETS
from smt_nas.costs.parts import PartIndex
from smt_nas.fingerprint import ADDED, Value, fingerprint
from smt_nas.space import SpaceConfig
from smt_nas.space.editions import FIRST_SMT, find_edition

GOLDEN = json.loads((Path(__file__).parent / "golden" / "identity.json").read_text("utf-8"))


def spaces():
    mine = SearchSpace(SpaceConfig.model_validate(GOLDEN["space"]), "mine")
    smt, micro = find_edition("smt", FIRST_SMT), SearchSpace.load("smt_micro")
    return {"smt": smt, "smt_micro": micro, "mine": mine}


every_space = pytest.mark.parametrize("name", GOLDEN["spaces"])


def lines(rows):
    return "\n".join(rows)


@pytest.mark.parametrize("name", PRESETS | SMALL_PRESETS)
def test_presets_keep_their_key_and_their_config(name):
    arch = (PRESETS | SMALL_PRESETS)[name]
    assert arch.key == GOLDEN["presets"][name]
    assert fingerprint(arch.to_yaml()) == GOLDEN["yaml"][name]


@every_space
def test_a_space_keeps_its_digest_genes_and_samples(name):
    space, golden = spaces()[name], GOLDEN["spaces"][name]
    genes = space.sample(np.random.default_rng(0), 300)
    assert (space.digest, space.size) == (golden["digest"], golden["size"])
    assert fingerprint(" ".join(g.name for g in space.genes)) == golden["gene_names"]
    text = lines(" ".join(map(str, row)) for row in genes.tolist())
    assert fingerprint(text) == golden["genes"]


@every_space
def test_networks_keep_their_keys_and_configs(name):
    space, golden = spaces()[name], GOLDEN["spaces"][name]
    archs = space.decode(space.sample(np.random.default_rng(0), 300))
    assert " ".join(arch.key for arch in archs) == golden["keys"]
    assert fingerprint("".join(arch.to_yaml() for arch in archs)) == golden["yaml"]


@every_space
def test_parts_keep_their_names_and_their_order(name):
    parts = PartIndex.of(spaces()[name]).parts
    assert fingerprint(lines(map(str, parts))) == GOLDEN["spaces"][name]["parts"]


@every_space
def test_costs_stay_what_they_are(name):
    space, golden = spaces()[name], GOLDEN["spaces"][name]
    found = costs.estimate(space, space.sample(np.random.default_rng(0), 300)).as_dict()
    rows = zip(*(found[metric].tolist() for metric in sorted(found)), strict=True)
    assert fingerprint(lines(" ".join(map(repr, row)) for row in rows)) == golden["costs"]
    bounds = {metric: [r.low, r.high] for metric, r in costs.bounds(space).items()}
    assert bounds == golden["bounds"]


class Before(Value):
    width: int
    depth: int = 1


class After(Before):
    kernel: Annotated[int, ADDED] = 3


class Owner(Value):
    parts: tuple[Before | After, ...]


def test_an_added_field_at_its_default_changes_no_fingerprint():
    before, after = Before(width=4), After(width=4)
    assert fingerprint(after.model_dump()) == fingerprint(before.model_dump())
    assert after.model_dump_json() == before.model_dump_json()
    assert Owner(parts=(after,)).model_dump() == Owner(parts=(before,)).model_dump()


def test_a_field_of_before_always_counts():
    assert Before(width=4).model_dump() == {"width": 4, "depth": 1}


def test_an_added_field_elsewhere_is_told_apart_and_comes_back():
    after = After(width=4, kernel=5)
    assert after.model_dump() == {"width": 4, "depth": 1, "kernel": 5}
    assert fingerprint(after.model_dump()) != fingerprint(After(width=4).model_dump())
    assert After.model_validate(after.model_dump()) == after


def test_values_are_frozen_and_know_their_fields():
    with pytest.raises(ValidationError, match="frozen"):
        After(width=4).kernel = 5
    with pytest.raises(ValidationError, match="Extra inputs"):
        After(width=4, heads=2)


def test_fingerprints_of_plain_values_do_not_hang_on_their_order():
    assert fingerprint({"a": 1, "b": [2]}) == fingerprint({"b": [2], "a": 1})
    assert fingerprint("text") == fingerprint(b"text") == "982d9e3eb996"
