"""Which networks a bench trains."""

from collections import Counter

import numpy as np
import pytest

from smt_nas import costs
from smt_nas.errors import ConfigError
from smt_nas.models import build
from smt_nas.nasbench.plan import (
    BANDS,
    KERNELS,
    SEEDS,
    ablation_bases,
    ablation_variants,
    plan_networks,
)
from smt_nas.space import SearchSpace

MICRO = SearchSpace.load("smt_micro")
LOW, HIGH = 5e6, 40e6


@pytest.fixture(scope="module")
def planned():
    return plan_networks(MICRO, 200, LOW, HIGH)


def kinds(planned):
    return Counter(p.group.partition(":")[0] for p in planned)


def test_every_network_is_another_and_within_the_range(planned):
    assert len({p.arch.key for p in planned}) == len(planned) == 200
    macs = [costs.of(p.arch).macs for p in planned]
    assert min(macs) >= LOW and max(macs) <= HIGH


def test_all_bands_have_alike_and_their_networks_are_of_the_space_and_of_the_band(planned):
    bands = Counter(p.group for p in planned if p.group.startswith("band"))
    assert len(bands) == BANDS and max(bands.values()) - min(bands.values()) <= 1
    edges = np.geomspace(LOW, HIGH, BANDS + 1)
    for p in planned:
        kind, _, band = p.group.partition(":")
        if kind == "band":
            assert MICRO.contains([p.arch])[0]
            assert edges[int(band)] <= costs.of(p.arch).macs < edges[int(band) + 1]


def test_patterns_and_both_ablations_are_there(planned):
    found = kinds(planned)
    assert found["pattern"] == 12
    assert found["heads"] >= 25 and found["mixers"] >= 25
    assert found["band"] > 100


def test_a_fifth_is_trained_with_three_seeds(planned):
    assert sum(len(p.seeds) == len(SEEDS) for p in planned) == 40
    assert {p.seeds for p in planned} == {SEEDS, SEEDS[:1]}


def test_more_trainings_of_every_network_leave_the_plan_as_it_is(planned):
    more = plan_networks(MICRO, 40, LOW, HIGH, trainings=2)
    assert [(p.arch, p.group) for p in more] == [(p.arch, p.group) for p in planned[:40]]
    assert {p.seeds for p in more} == {SEEDS, SEEDS[:2]}


@pytest.mark.parametrize("trainings", [0, 4])
def test_trainings_that_no_plan_has_are_refused(trainings):
    with pytest.raises(ConfigError, match=rf"must be 1 to 3 \(got {trainings}\)"):
        plan_networks(MICRO, 5, LOW, HIGH, trainings=trainings)


def test_a_longer_plan_begins_with_the_shorter_and_any_beginning_is_mixed(planned):
    assert plan_networks(MICRO, 40, LOW, HIGH) == planned[:40]
    assert min(kinds(planned[:36]).values()) >= 3
    assert len({p.group for p in planned[:20] if p.group.startswith("band")}) == BANDS


def test_another_seed_draws_other_networks_for_the_bands(planned):
    others = {
        p.arch.key
        for p in plan_networks(MICRO, 40, LOW, HIGH, seed=1)
        if p.group.startswith("band")
    }
    assert len(others - {p.arch.key for p in planned}) > 20


@pytest.mark.parametrize("base", ablation_bases())
def test_variants_of_a_base_differ_in_the_one_point(base):
    heads, mixers = ablation_variants(MICRO, base).values()
    assert {len(a.stages[0].kernels) for a in heads.values()} == set(KERNELS)
    for a in heads.values():
        assert [s.mixers for s in a.stages] == [s.mixers for s in heads["4"].stages]
        assert [s.dim for s in a.stages] == [s.dim for s in heads["4"].stages]
    assert heads["4"] == mixers["alternate+msa"]
    of_two = len(heads["4"].stages[2].mixers) == 2  # halves are in turn then
    assert len({a.key for a in mixers.values()}) == len(mixers) - of_two
    assert (
        set(mixers["sam+sam"].stages[2].mixers)
        == {"sam"}
        == set(mixers["sam+sam"].stages[3].mixers)
    )
    halves = mixers["halves+msa"].stages[2].mixers
    assert halves == tuple(sorted(halves, reverse=True))  # sam first


def test_every_variant_can_be_built():
    for base in ablation_bases():
        for variants in ablation_variants(MICRO, base).values():
            for arch in variants.values():
                build(arch, device="meta")


def test_a_space_without_such_networks_says_so(monkeypatch):
    monkeypatch.setattr("smt_nas.nasbench.plan._MOST_DRAWS", 3)
    with pytest.raises(ConfigError, match=r"space smt: must have more networks of .* than 0 in"):
        plan_networks(SearchSpace.load("smt"), 5, LOW, HIGH)


def test_a_space_that_is_used_up_says_so(monkeypatch):
    monkeypatch.setattr("smt_nas.nasbench.plan._MOST_DRAWS", 3)
    few = MICRO.config.model_dump(mode="json")
    for stage in few["stages"]:
        stage.update({k: v[:1] for k, v in stage.items() if isinstance(v, list)})
    few["stages"][2]["dim"] = [64, 96]
    space = SearchSpace(type(MICRO.config).model_validate(few))
    with pytest.raises(ConfigError, match=r"must have more networks"):
        plan_networks(space, 200, 5e6, 40e6)
