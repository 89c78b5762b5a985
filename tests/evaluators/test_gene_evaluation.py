"""Networks that are evaluated from their genes, many at once, are what each is alone."""

from dataclasses import replace

import numpy as np
import pytest

from smt_nas.arch import PRESETS
from smt_nas.evaluators.base import GeneEvaluator
from smt_nas.evaluators.capacity import CapacityEvaluator
from smt_nas.evaluators.joint import JointEvaluator
from smt_nas.evaluators.runner import EvaluationRunner
from smt_nas.evaluators.topology.design_region import load_region
from smt_nas.evaluators.topology.shapes import Shapes
from smt_nas.runtime.engines.process_pool import ProcessPool
from smt_nas.space import SearchSpace

SPACES = {name: SearchSpace.load(name) for name in ("smt", "smt_micro")}


def sample(space, n, seed=0):
    """Genes (n, G), the smallest preset among them where the space holds it."""
    genes = space.sample(np.random.default_rng(seed), n)
    preset = PRESETS["smt_t"]
    return np.vstack([genes, space.encode(preset)]) if space.contains([preset])[0] else genes


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("make", [CapacityEvaluator, JointEvaluator])
def test_they_are_to_the_last_bit_what_each_is_alone(name, make):
    space = SPACES[name]
    evaluator, genes = make().for_space(space), sample(space, 40)
    assert isinstance(evaluator, GeneEvaluator)
    together = evaluator.evaluate_genes(space, genes)
    alone = [evaluator.evaluate([arch])[0] for arch in space.decode(genes)]
    assert [replace(e, seconds=0.0) for e in together] == [replace(e, seconds=0.0) for e in alone]
    assert all(e.seconds > 0 for e in together)
    assert evaluator.evaluate_genes(space, genes[:0]) == []


def test_so_is_their_distance_to_published_designs():
    genes = sample(SPACES["smt"], 60)
    together = load_region().measure_genes(SPACES["smt"], genes)
    archs = SPACES["smt"].decode(genes)
    alone = [load_region().measure(Shapes.of_archs([arch]))[0] for arch in archs]
    assert together.tolist() == alone


def test_a_runner_takes_genes_whatever_the_evaluator_takes():
    class One(CapacityEvaluator):
        evaluate_genes = None
        is_final = False

    space = SPACES["smt_micro"]
    genes = sample(space, 3)
    with ProcessPool(1) as pool:
        for evaluator in (CapacityEvaluator(), One()):
            figures = [
                e.value for e in EvaluationRunner(evaluator, pool).evaluate_genes(space, genes)
            ]
            assert figures == [e.value for e in evaluator.evaluate(space.decode(genes))]
        exact = EvaluationRunner(None, pool).evaluate_genes(space, genes)
        assert [e.value for e in exact] == [None] * 3
