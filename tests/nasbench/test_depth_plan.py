"""The plan of a bench that is to tell what depth is worth at equal MACs."""

from collections import Counter, defaultdict

import numpy as np
import pytest

from smt_nas import costs
from smt_nas.errors import ConfigError
from smt_nas.evaluators.topology.design_region import lies_in_region
from smt_nas.models import build as build_model
from smt_nas.nasbench.build import BuildRequest, build_bench
from smt_nas.nasbench.depth_plan import BLOCKS, GROWTHS, SPLITS, plan_depth, share_blocks
from smt_nas.nasbench.equal_macs import Design, fit_widths
from smt_nas.runtime.progress import NullProgress
from smt_nas.space import SearchSpace
from tests.fakes.terminal import invoke

SMALL = SearchSpace.load("smt_small")
LOW, HIGH = 6e6, 20e6


def plan(n, seed=0):
    return plan_depth(SMALL, n, LOW, HIGH, seed, 1, lies_in_region)


@pytest.fixture(scope="module")
def planned():
    return plan(80)


def blocks(arch):
    return sum(stage.depth for stage in arch.stages)


def ladders(planned, kind):
    """The networks of each base of a kind, by variant."""
    found = defaultdict(dict)
    for p in planned:
        axis, base, *variant = p.group.split(":")
        if axis == kind:
            found[base][variant[0]] = p.arch
    return found


def test_the_cheapest_ladder_of_the_published_split_comes_first_then_all_kinds_in_turn(planned):
    bases = [p.group.split(":")[:2] for p in planned]
    assert bases[: len(BLOCKS)] == [["depth", "published-0"]] * len(BLOCKS)
    assert ["depth", "published-1"] in bases and ["depth", "published-2"] in bases
    rungs = ladders(planned, "depth")["published-0"]
    assert [blocks(arch) for arch in rungs.values()] == list(BLOCKS)
    assert [int(variant) for variant in rungs] == list(BLOCKS)


def test_all_of_a_ladder_have_equal_macs(planned):
    for kind in ("depth", "width", "pattern"):
        found = ladders(planned, kind)
        assert found
        for rungs in found.values():
            macs = [costs.of(arch).macs for arch in rungs.values()]
            assert max(macs) <= 1.0203 * min(macs)
            assert min(macs) >= LOW and max(macs) <= HIGH


def test_ladders_differ_in_depth_and_widths_alone_and_have_attention_as_published(planned):
    for p in planned:
        if p.group.partition(":")[0] != "depth":
            continue
        s1, s2, s3, s4 = p.arch.stages
        assert {*s1.mixers, *s2.mixers} == {"sam"} and set(s4.mixers) == {"msa"}
        assert s3.mixers.count("msa") == s3.depth // 2
        assert s1.dim <= s2.dim <= s3.dim <= s4.dim
        assert (s3.heads if s3.depth > 1 else 4, s4.heads) == (4, 8)
    build_model(planned[1].arch, device="meta")


def test_the_others_take_turns_so_that_any_beginning_is_a_sample(planned):
    kinds = [p.group.partition(":")[0] for p in planned[len(BLOCKS) :]]
    assert set(kinds[:9]) == {"pattern", "depth", "region", "width", "outside", "band"}
    counts = Counter(kinds)
    assert min(counts.values()) >= 6
    splits = {p.group.split(":")[1].split("-")[0] for p in planned if p.group[:5] == "depth"}
    assert splits == set(SPLITS)
    growths = {p.group.split(":")[2] for p in planned if p.group[:5] == "width"}
    assert growths == set(GROWTHS)


def test_what_is_drawn_is_of_the_space_and_inside_or_outside_the_region(planned):
    for kind, inside in (("region", True), ("outside", False)):
        archs = [p.arch for p in planned if p.group.startswith(kind)]
        assert SMALL.contains(archs).all()
        assert (lies_in_region(SMALL, SMALL.encode(archs)) == inside).all()
    assert max(blocks(p.arch) for p in planned) <= 28


def test_patterns_have_the_published_depths_or_scale_them_too(planned):
    for base, ways in ladders(planned, "pattern").items():
        if base.startswith("t"):
            depths = {way: [s.depth for s in arch.stages] for way, arch in ways.items()}
            assert depths["depths"] == [2, 2, 8, 1]
            assert depths["both"][2] < 8
            assert ways["both"].stages[2].dim > ways["depths"].stages[2].dim


def test_a_longer_plan_begins_with_the_shorter_ones_networks(planned):
    for n in (5, 30, 50):
        assert plan(n) == planned[:n]
    assert len({p.arch.key for p in planned}) == 80
    assert plan(50, seed=1)[:11] == planned[:11] and plan(50, seed=1) != planned[:50]


def test_blocks_are_shared_in_proportion_and_no_stage_is_empty():
    assert share_blocks((2, 2, 8, 1), 13) == (2, 2, 8, 1)
    assert share_blocks((2, 2, 8, 1), 4) == (1, 1, 1, 1)
    assert share_blocks((1, 1, 1, 1), 28) == (7, 7, 7, 7)
    for split in SPLITS.values():
        assert all(sum(share_blocks(split, n)) == n for n in BLOCKS)


def test_a_rung_that_costs_too_much_at_its_narrowest_is_left_out():
    assert fit_widths(SMALL, Design((5, 4, 17, 2)), 1e6) is None
    macs = costs.of(fit_widths(SMALL, Design((1, 1, 5, 1)), 7e6)).macs
    assert np.isclose(macs, 7e6, rtol=0.01)


def test_the_plan_stands_in_the_card_and_another_is_refused(tmp_path, monkeypatch):
    from smt_nas.nasbench import build

    monkeypatch.setattr(build, "train_and_score", lambda task: ["not now"])
    words = ["bench", "build", "--data", "digits", "--space", "smt_small", "--n", 1, "--workers", 1]
    words += ["--out", tmp_path / "b"]
    invoke(*words, "--plan", "depth", code=1)
    assert "plan_name: depth" in (tmp_path / "b" / "bench.yaml").read_text()
    told = invoke(*words, code=1).stderr
    assert "holds a bench with plan_name depth (got None)" in told


def test_the_plan_needs_a_test_of_shapes(tmp_path):
    request = BuildRequest("smt_small", "digits", plan="depth")
    with pytest.raises(ConfigError, match="needs a test of shapes"):
        build_bench(request, tmp_path / "b", "cpu", 1, NullProgress())
    assert not (tmp_path / "b").exists()
