"""What is measured next: everything, the least seen first, and the same after a restart."""

import itertools

import numpy as np
import pytest

from smt_nas import SearchSpace, costs
from smt_nas.conditions import Conditions
from smt_nas.costs.parts import PartIndex
from smt_nas.profilers.calibration.schedule import Plan, Schedule
from smt_nas.space import SpaceConfig

MICRO = SearchSpace.load("smt_micro")


ONE = (Conditions(threads=1),)


def plan(space=MICRO, conditions=ONE, visits=3, seed=0):
    return Plan.of(space, conditions, visits, seed)


def walk(schedule, limit=100_000):
    visits = []
    while len(visits) < limit and (visit := schedule.next()) is not None:
        visits.append(visit)
        schedule.count(visit)
    return visits


@pytest.mark.parametrize("name", ["smt", "smt_micro"])
def test_networks_are_spread_over_the_macs_and_halved_fairly(name):
    found = plan(SearchSpace.load(name))
    space, macs = found.index.space, costs.estimate(found.index.space, found.networks).macs
    assert len(np.unique(found.networks, axis=0)) == 40
    drawn = costs.estimate(space, space.sample(np.random.default_rng(5), 2000)).macs
    assert macs.min() < np.percentile(drawn, 1) and macs.max() > np.percentile(drawn, 99)
    step = np.log(macs.max() / macs.min()) / (len(macs) - 1)  # from one network to the next
    assert abs(np.log(macs[::2] / macs[1::2]).mean()) < 1.2 * step  # the ends count once
    assert costs.estimate(space, found.reference).macs <= macs.min()


def test_everything_is_measured_as_often_as_planned():
    both = (Conditions(threads=1), Conditions(threads=1, batch=8))
    schedule = Schedule(plan(conditions=both))
    walk(schedule)
    assert schedule.share == 1 and schedule.next() is None
    assert (schedule.parts >= 3).all() and (schedule.networks >= 3).all()


def test_a_schedule_cut_short_has_seen_all_kinds():
    schedule = Schedule(plan(SearchSpace.load("smt"), visits=30))
    walk(schedule, 60)
    seen = schedule.parts[0] > 0
    assert seen.mean() > 0.5
    kinds = {
        part.kind for part, known in zip(schedule.plan.index.parts, seen, strict=True) if known
    }
    assert kinds == {part.kind for part in schedule.plan.index.parts}
    fit, held = (schedule.networks[0][half::2].sum() for half in (0, 1))
    assert fit > 3 and held > 3


def test_a_chain_holds_one_part_in_each_place():
    found = plan()
    chain = next(v.chain for v in walk(Schedule(found), 10) if v.network is None)
    parts = [found.index.parts[i] for i in chain]
    assert parts[0].kind == "stem" and parts[-1].kind == "head"
    for before, after in itertools.pairwise(parts):
        assert (after.dim_in or after.dim) == before.dim  # it can be run


def test_a_restart_changes_nothing():
    whole = walk(Schedule(plan()))
    first, again = Schedule(plan()), Schedule(plan())
    for visit in walk(first, 100):
        again.count(visit)
    assert walk(again) == whole[100:]
    assert walk(Schedule(plan(seed=1)))[:20] != whole[:20]


def test_a_space_of_one_network_has_nothing_to_check_with():
    stage = {"dim": 16, "depth": 1, "kernels": [3]}
    space = SearchSpace(SpaceConfig.model_validate({"image_size": 32, "stages": [stage] * 4}))
    found = plan(space)
    assert len(found.networks) == 0 and len(PartIndex.of(space).parts) > 4
    assert len(walk(Schedule(found))) == 3
