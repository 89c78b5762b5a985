"""The preset of equal MACs: the presets themselves, and what lies between and beyond."""

import numpy as np

from smt_nas.evaluators.topology.pattern import interpolate_presets, load_presets


def test_at_the_presets_macs_it_is_the_presets():
    presets = load_presets()
    like = interpolate_presets(presets.costs[:, 0])
    np.testing.assert_allclose(like.costs, presets.costs)
    for field in ("depth", "width", "expansion", "macs_share"):
        np.testing.assert_allclose(getattr(like.shapes, field), getattr(presets.shapes, field))


def test_between_and_beyond_costs_go_with_macs():
    gmacs = np.geomspace(0.5, 40, 60)
    like = interpolate_presets(gmacs)
    np.testing.assert_allclose(like.costs[:, 0], gmacs)
    assert (np.diff(like.costs, axis=0) > 0).all()
    ends = load_presets().shapes
    np.testing.assert_allclose(like.shapes.depth[0], ends.depth[0])
    np.testing.assert_allclose(like.shapes.depth[-1], ends.depth[-1])
