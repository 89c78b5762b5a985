"""Features mean the same at every size."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smt_nas.arch import PRESETS, SMALL_PRESETS, Stage
from smt_nas.costs import of as costs_of
from smt_nas.evaluators.predictors import features, reference
from smt_nas.evaluators.predictors.features import NAMES, of_archs, of_genes
from smt_nas.space import SearchSpace

SMALL = reference.smallest(small=True)
SPACES = {name: SearchSpace.load(name) for name in ("smt", "smt_micro")}


@pytest.mark.parametrize("name", SPACES)
def test_genes_and_architectures_give_the_same(name):
    space = SPACES[name]
    genes = space.sample(np.random.default_rng(0), 200)
    rows = of_genes(space, genes)
    assert rows.shape == (200, len(NAMES)) and np.isfinite(rows).all()
    np.testing.assert_allclose(rows, of_archs(space.decode(genes)), atol=1e-12)


def named(arch):
    return dict(zip(NAMES, of_archs([arch])[0], strict=True))


@pytest.mark.parametrize("arch", [PRESETS["smt_t"], SMALL], ids=["t", "small"])
def test_the_published_pattern_lies_at_nought(arch):
    row = named(arch)
    for name in ("log_macs", "log_params", "log_activations", "log_depth", "log2_ffn_3"):
        assert row[name] == 0
    assert [row[f"log2_width_{i + 1}_{i}"] for i in (1, 2, 3)] == [1, 1, 1]
    assert [row[f"attention_share_{i}"] for i in range(1, 5)] == [0, 0, 0.5, 1]
    assert row["log2_kernels_1"] == 2 and row["log2_kernels_4"] == 0


def test_small_and_full_size_are_the_same_network_but_for_depth():
    small, full = named(SMALL), named(PRESETS["smt_t"])
    same = [n for n in NAMES if not n.startswith(("depth_share", "macs_share", "attention_place"))]
    assert {n: small[n] for n in same} == pytest.approx({n: full[n] for n in same})


def test_what_is_trained_lies_about_the_small_pattern_as_networks_for_images_lie_about_smt_t():
    """5 to 40 MMACs, as 1 to 7.5 GMACs: from less than SMT-T to SMT-B."""
    at = costs_of(SMALL).macs
    assert costs_of(PRESETS["smt_t"]).macs / at * np.array([5e6, 40e6]) == pytest.approx(
        [0.95e9, 7.6e9], rel=0.05
    )


@pytest.mark.parametrize("name", ["depth_share", "macs_share"])
def test_shares_sum_to_one(name):
    space = SPACES["smt"]
    rows = of_genes(space, space.sample(np.random.default_rng(1), 50))
    columns = [i for i, n in enumerate(NAMES) if n.startswith(name)]
    np.testing.assert_allclose(rows[:, columns].sum(axis=1), 1)


@pytest.mark.parametrize(
    ("depth", "share", "stacking", "place"),
    [
        (4, 0.5, "tail", 1.0),
        (4, 0.5, "alternate", 0.5),  # sam msa sam msa
        (4, 0.0, "tail", 0.0),
        (4, 1.0, "tail", 0.0),
        (8, 0.5, "alternate", 0.25),
    ],
)
def test_where_the_attention_stands(depth, share, stacking, place):
    base = SMALL_PRESETS["smt_micro"]
    stage = Stage(dim=64, depth=depth, attention_ratio=share, stacking=stacking, head_dim=16)
    stages = (*base.stages[:2], stage, base.stages[3])
    assert named(base.model_copy(update={"stages": stages}))["attention_place_3"] == place


@given(st.integers(0, 2**32 - 1))
def test_a_wider_network_of_the_same_shape_differs_in_level_and_little_else(seed):
    rng = np.random.default_rng(seed)
    arch = SPACES["smt_micro"].decode(SPACES["smt_micro"].sample(rng, 1))[0]
    stages = tuple(
        s.model_copy(update={"dim": 4 * s.dim, "head_dim": 4 * s.head_dim}) for s in arch.stages
    )
    small, large = named(arch), named(arch.model_copy(update={"stages": stages}))
    assert large["log_params"] > small["log_params"]
    level = (*features.LEVEL, *(n for n in NAMES if n.startswith("macs_share")))
    same = [n for n in NAMES if n not in level]
    assert {n: small[n] for n in same} == pytest.approx({n: large[n] for n in same})


def test_nothing_in_nothing_out():
    assert of_archs([]).shape == (0, len(NAMES))


def test_compact_keeps_costs_and_averages_kernels():
    rows = np.arange(2 * len(NAMES), dtype=float).reshape(2, -1)
    found = features.compact(rows)
    assert found.shape == (2, 4 + 3 + 4 + 4 + 4)
    np.testing.assert_array_equal(found[:, :4], rows[:, :4])  # the level and the depth
    kernels = [i for i, n in enumerate(NAMES) if n.startswith("log2_kernels")]
    assert len(kernels) == 4
    np.testing.assert_allclose(found[:, -3], rows[:, kernels].mean(axis=1))
