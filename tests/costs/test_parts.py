"""Genes to parts: exact for every network of a space."""

from collections import Counter

import numpy as np
import pytest

from smt_nas import SearchSpace, costs
from smt_nas.costs.formulas import complexity
from smt_nas.costs.parts import KINDS, PartIndex, decompose
from smt_nas.space import SpaceConfig

EDGES = {  # patterns that never hold a SAM, or an MSA; kernels that fit no width then
    "image_size": 47,
    "layer_scale": 0.1,
    "stem": {"kernel": [3, 7], "stride": 2},
    "stages": [
        {"dim": [6, 9], "depth": [1, 2], "kernels": [[3], [3, 5, 7]], "attention_ratio": 0},
        {
            "dim": [10, 14],
            "depth": 1,
            "kernels": [[3, 5, 7]],
            "attention_ratio": 1,
            "heads": [1, 2],
        },
        {"dim": 12, "depth": [1, 3, 7], "attention_ratio": [0.34, 0.5, 1], "heads": [2, 3]},
        {
            "dim": 12,
            "depth": [2, 3],
            "attention_ratio": [0, 1],
            "mlp_ratio": [0.3, 1.7],
            "ffn_kernel": [5, 3],
        },
    ],
}


def spaces():
    edges = dict(EDGES)
    edges["stages"] = [dict(s) for s in EDGES["stages"]]
    edges["stages"][3] |= {"heads": [4]}
    return {
        "smt": SearchSpace.load("smt"),
        "smt_micro": SearchSpace.load("smt_micro"),
        "edges": SearchSpace(SpaceConfig.model_validate(edges)),
    }


@pytest.fixture(scope="module", params=["smt", "smt_micro", "edges"])
def space(request):
    return spaces()[request.param]


def test_genes_and_architectures_give_the_same_parts(space):
    genes = space.sample(np.random.default_rng(0), 300)
    index = PartIndex.of(space)
    places, counts = index.index(genes), index.counts(genes)
    for at, count, arch in zip(places, counts, space.decode(genes), strict=True):
        mine = Counter({index.parts[i]: 0 for i in at})
        for i, n in zip(at.tolist(), count.tolist(), strict=True):
            mine[index.parts[i]] += n
        assert +mine == Counter(decompose(arch))


def test_another_image_size_gives_other_parts(space):
    genes = space.sample(np.random.default_rng(1), 20)
    index = PartIndex.of(space, 96)
    ones = np.ones(len(index.parts))
    for n, arch in zip(index.sums(ones, genes), space.decode(genes), strict=True):
        parts = Counter(decompose(arch, 96))
        assert set(parts) <= set(index.parts) and sum(parts.values()) == n


def test_macs_of_the_parts_add_up_to_the_costs(space):
    index = PartIndex.of(space)
    genes = space.sample(np.random.default_rng(2), 5_000)
    summed = index.sums(np.array([complexity(p).macs for p in index.parts], dtype=float), genes)
    assert np.array_equal(summed, costs.estimate(space, genes).macs)


def test_every_part_occurs_in_some_network_and_has_a_name_of_its_own(space):
    index = PartIndex.of(space)
    genes = space.sample(np.random.default_rng(3), 20_000)
    places, counts = index.index(genes), index.counts(genes)
    assert len(np.unique(places[counts > 0])) == len(index.parts)
    assert len({str(p) for p in index.parts}) == len(index.parts) == len(set(index.parts))
    assert {p.kind for p in index.parts} <= set(KINDS)
