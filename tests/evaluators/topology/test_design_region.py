"""The region of designs: presets inside, what was recommended before outside, neighbours named."""

import numpy as np
import pytest

from smt_nas.arch import PRESETS
from smt_nas.evaluators.topology.design_region import DesignRegion, load_region
from smt_nas.evaluators.topology.published_table import load_published
from smt_nas.evaluators.topology.shapes import Shapes
from smt_nas.evaluators.validation.family_validation import check_region
from smt_nas.space import SearchSpace
from tests.fakes.published import promised_before


def test_presets_lie_inside_and_what_was_recommended_before_outside():
    region = load_region()
    distances = region.measure(Shapes.of_archs([*PRESETS.values(), promised_before()]))
    assert (distances[:4] <= region.limit).all()
    assert distances[4] > region.limit


def test_genes_are_as_far_as_their_architectures():
    smt, region = SearchSpace.load("smt"), load_region()
    genes = smt.sample(np.random.default_rng(0), 10)
    expected = region.measure(Shapes.of_archs(smt.decode(genes)))
    np.testing.assert_allclose(region.measure_genes(smt, genes), expected)


def test_the_nearest_of_a_published_network_is_itself():
    region = load_region()
    some = np.array([0, 100, 300])
    for at, names in zip(some, region.find_nearest(region.table.shapes.select(some)), strict=True):
        assert len(names) == 3
        shapes = region.table.shapes
        first = [n.partition(".")[0] for n in region.table.name.tolist()].index(names[0])
        np.testing.assert_allclose(shapes.depth[first], shapes.depth[at])


def test_the_distance_is_that_to_the_third_neighbour():
    """By a plain loop over features, for one network."""
    region = load_region()
    shapes = region.table.shapes
    log_depth = np.log2(shapes.depth.sum(axis=1))
    parts = [log_depth[:, None], shapes.depth_share[:, [0, 1, 3]], shapes.macs_share[:, [0, 1, 3]]]
    features = np.hstack([*parts, np.log2(shapes.width[:, 1:] / shapes.width[:, :-1])])
    points = (features - features.mean(axis=0)) / features.std(axis=0)
    away = np.sqrt(((points - points[7]) ** 2).sum(axis=1))
    assert region.measure(shapes.select(np.array([7])))[0] == pytest.approx(
        np.sort(away)[2], abs=1e-6
    )
    others = away[region.table.line != region.table.line[7]]
    assert region.own_distances[7] == pytest.approx(np.sort(others)[2])


def test_fitted_on_half_of_the_lines_it_holds_the_networks_of_the_others():
    check = check_region(load_published(), seed=0)
    assert check is not None and check.lines >= 40
    assert 0.90 <= check.inside <= 0.98
    assert check.lowest < check.inside < check.highest


def test_a_feature_that_all_share_distinguishes_none():
    table = load_published()
    same = table.select(table.shapes.depth.sum(axis=1) == 12)
    region = DesignRegion.of(same)
    assert np.isfinite(region.measure(Shapes.of_archs([PRESETS["smt_t"]]))).all()
