"""The networks of a step: a function of the seed and the step, of all sizes and kinds."""

import numpy as np
import pytest

from smt_nas import costs
from smt_nas.errors import ConfigError
from smt_nas.evaluators.supernet.coverage import LEAST_SHARE, Coverage, list_space_choices
from smt_nas.evaluators.supernet.training.sandwich import SLOTS, Sandwich
from smt_nas.models.supernet import SupernetSpec
from smt_nas.space import SearchSpace
from tests.fakes.supernets import draw_archs, make_space

RANGE = (2e6, 20e6)
MICRO = SearchSpace.load("smt_micro")


def _sandwich(space, seed=0, macs=None, **options):
    spec = SupernetSpec.for_space(space, macs=macs, force=True)
    return Sandwich(space, spec, seed, macs=macs, **options)


def test_networks_follow_from_seed_step_and_attempt():
    space = make_space()
    once, again = (_sandwich(space) for _ in range(2))
    assert once.draw(7) == again.draw(7)
    others = [once.draw(8), once.draw(7, attempt=1), _sandwich(space, seed=1).draw(7)]
    assert all(other != once.draw(7) for other in others)


def test_anchors_are_of_the_largest_and_smallest_options_and_of_any_kind():
    space = make_space()
    steps = [_sandwich(space).draw(step) for step in range(30)]
    for big, *_, small in steps:
        assert [(s.dim, s.depth) for s in big.stages] == [(16, 2), (16, 2), (32, 3), (32, 2)]
        assert [(s.dim, s.depth) for s in small.stages] == [(8, 1), (8, 1), (16, 1), (16, 1)]
    for anchors in zip(*steps, strict=True):
        assert {arch.stem.kernel for arch in anchors} == {3, 5, 7}
        assert {mixer for arch in anchors for mixer in arch.stages[3].mixers} == {"sam", "msa"}


def test_only_the_big_one_drops_paths():
    rates = [arch.drop_path for arch in _sandwich(make_space(), drop_path=0.2).draw(0)]
    assert rates == [0.2, 0, 0, 0]


def test_a_range_of_macs_is_kept_and_filled():
    sandwich = _sandwich(MICRO, macs=RANGE)
    macs = np.array([[costs.of(a).macs for a in sandwich.draw(step)] for step in range(25)])
    assert macs.shape == (25, SLOTS)
    assert RANGE[0] <= macs.min() and macs.max() <= RANGE[1]
    assert macs[:, 0].min() > 14e6 and macs[:, -1].max() < 3e6
    middle = macs[:, 1:-1]
    assert (middle < 5e6).mean() > 0.05 and (middle > 14e6).mean() > 0.05


def test_a_range_without_networks_is_refused():
    spec = SupernetSpec.for_space(MICRO, force=True)
    with pytest.raises(ConfigError, match=r"of 39 to 39\.8 MMACs must not be so rare .* Widen"):
        Sandwich(MICRO, spec, 0, macs=(39e6, 39.8e6)).draw(0)
    with pytest.raises(ConfigError, match="must hold networks of it"):
        SupernetSpec.for_space(MICRO, macs=(50e6, 60e6))


def test_every_choice_of_smt_micro_is_trained_in_more_than_the_least_share_of_steps():
    sandwich, coverage = _sandwich(MICRO, macs=RANGE), Coverage()
    for step in range(80):
        coverage.add(sandwich.draw(step))
    assert coverage.steps == 80
    assert set(coverage.counts) <= set(list_space_choices(MICRO))
    assert coverage.find_rare_in(MICRO, LEAST_SHARE) == {}


def test_coverage_tells_what_a_network_lacks():
    space = make_space()
    one, other = draw_archs(space, 2)
    coverage = Coverage()
    assert coverage.find_least_share(one) == 0
    coverage.add([one, one])
    assert coverage.find_rare(one) == {} and coverage.find_least_share(one) == 1
    rare = coverage.find_rare(other)
    assert rare and set(rare.values()) == {0.0}
    assert Coverage.from_dict(coverage.to_dict()) == coverage


def test_a_width_counts_where_one_as_wide_was_trained():
    (arch,) = draw_archs(make_space(), 1)

    def widen(dim):
        first = arch.stages[0].model_copy(update={"dim": dim})
        return arch.model_copy(update={"stages": (first, *arch.stages[1:])})

    coverage = Coverage()
    coverage.add([widen(8), widen(16)])
    coverage.add([widen(8), widen(8)])
    assert coverage.find_share("stage1 width 8") == 1
    assert coverage.find_share("stage1 width 16") == 0.5
    assert coverage.find_share("stage1 width 32") == 0


@pytest.mark.parametrize("seed", [0, 2])
def test_a_range_whose_networks_are_rare_has_some_at_every_step(seed):
    """Among 64 that are drawn there often is none; the next draw is of twice as many."""
    space = SearchSpace.load("smt_micro_supernet")
    low, high = 27e6, 40e6
    sandwich = _sandwich(space, seed=seed, macs=(low, high))
    for step in range(6, 12):
        for arch in sandwich.draw(step):
            assert low <= costs.of(arch).macs <= high
