"""Editions: a space may grow, and what was of an earlier one is of that one."""

import numpy as np
import pytest

from smt_nas import PRESETS, SearchSpace
from smt_nas.evaluators.evaluator_fingerprint import probe_networks
from smt_nas.files import shipped
from smt_nas.space.editions import FIRST_SMT, find_edition

NOW, FIRST = SearchSpace.load("smt"), find_edition("smt", FIRST_SMT)


def test_an_edition_is_found_by_its_digest():
    assert (FIRST.name, FIRST.digest) == ("smt", FIRST_SMT) and FIRST.digest != NOW.digest
    assert find_edition("smt", NOW.digest).digest == NOW.digest
    assert find_edition("smt", "0" * 12) is None and find_edition("mine", NOW.digest) is None


def test_the_files_of_editions_hold_what_their_names_say():
    for path in shipped("earlier_spaces").glob("*.yaml"):
        name, digest = path.stem.rsplit("-", 1)
        assert SearchSpace.load(path).digest == digest
        assert name in ("smt", "smt_micro")


def test_the_networks_of_an_earlier_edition_are_all_in_the_space():
    archs = FIRST.decode(FIRST.sample(np.random.default_rng(0), 500))
    assert NOW.contains(archs).all()
    assert NOW.decode(NOW.encode(archs)) == archs
    for before, now in zip(FIRST.genes, NOW.genes, strict=True):
        assert before.name == now.name and set(before.options) <= set(now.options)


@pytest.mark.parametrize("name", PRESETS)
def test_widths_and_depths_of_the_presets_lie_inside(name):
    """Of depths the least is one block, and SMT-T and S are not far from it."""
    for options, stage in zip(NOW.config.stages, PRESETS[name].stages, strict=True):
        assert min(options.dim) < stage.dim < max(options.dim)
        assert min(options.depth) == 1 or min(options.depth) < stage.depth
        assert stage.depth < max(options.depth)


@pytest.mark.parametrize("share", [0.5, 0.75])
@pytest.mark.parametrize("name", ["smt_s", "smt_b"])
def test_depths_and_widths_of_the_presets_can_be_scaled(name, share):
    for options, stage in zip(NOW.config.stages, PRESETS[name].stages, strict=True):
        assert share * stage.dim in options.dim
        depth = max(1, share * stage.depth)
        assert {int(depth), int(depth + 0.5)} & set(options.depth)


def test_what_fingerprints_ask_of_stays_when_a_space_grows():
    assert [(s.name, s.digest, len(g)) for s, g in probe_networks()] == [
        ("smt", FIRST_SMT, 100),
        ("smt_micro", "2d2b409283a8", 100),
    ]
