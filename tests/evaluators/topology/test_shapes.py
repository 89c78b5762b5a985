"""Shapes: the same of genes as of architectures, and features without an absolute width."""

import numpy as np

from smt_nas.evaluators.topology.shapes import FEATURES, Shapes, measure_features
from smt_nas.space import SearchSpace

SMT = SearchSpace.load("smt")


def test_genes_and_architectures_have_the_same():
    genes = SMT.sample(np.random.default_rng(0), 20)
    ours, theirs = Shapes.of_genes(SMT, genes), Shapes.of_archs(SMT.decode(genes))
    for field in ("depth", "width", "expansion", "macs"):
        np.testing.assert_allclose(getattr(ours, field), getattr(theirs, field))


def test_features_know_no_absolute_width_and_no_unit_of_macs():
    shapes = Shapes.of_genes(SMT, SMT.sample(np.random.default_rng(1), 5))
    wider = Shapes(shapes.depth, 2 * shapes.width, shapes.expansion, 1e-9 * shapes.macs)
    names = tuple(FEATURES)
    np.testing.assert_allclose(measure_features(names, wider), measure_features(names, shapes))
    assert measure_features((), shapes).shape == (5, 0)
    np.testing.assert_allclose(shapes.depth_share.sum(axis=1), 1)
    np.testing.assert_allclose(shapes.macs_share.sum(axis=1), 1)
