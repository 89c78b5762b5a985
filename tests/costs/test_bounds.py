"""The cheapest and the dearest network of a space, against going through all of them."""

import itertools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smt_nas import SearchSpace, costs
from smt_nas.space import SpaceConfig

DIMS = st.lists(st.sampled_from([4, 8, 24, 64]), min_size=1, max_size=2, unique=True)
STAGES = st.fixed_dictionaries(
    {
        "dim": DIMS,
        "depth": st.sampled_from([[1], [1, 3]]),
        "mlp_ratio": st.sampled_from([[4.0], [0.5, 6.0]]),
        "expand_ratio": st.sampled_from([[1], [1, 3]]),
        "kernels": st.sampled_from([[[3]], [[3, 5]]]),
        "attention_ratio": st.sampled_from([[0.0], [0.5, 1.0]]),
        "heads": st.sampled_from([[1], [4]]),
    }
)
CONFIGS = st.fixed_dictionaries(
    {
        "image_size": st.sampled_from([32, 96]),
        "num_classes": st.sampled_from([2, 30_000]),
        "stem": st.sampled_from([{"kernel": [3, 7]}, {"kernel": 5, "stride": 2}]),
        "stages": st.tuples(STAGES, STAGES, STAGES, STAGES).map(list),
    }
)


def every_row(space):
    return np.array(list(itertools.product(*(range(c) for c in space.cardinality))))


@settings(max_examples=40)
@given(config=CONFIGS.filter(lambda c: SearchSpace(SpaceConfig.model_validate(c)).size <= 50_000))
def test_bounds_equal_brute_force(config):
    space = SearchSpace(SpaceConfig.model_validate(config))
    found = costs.bounds(space)
    every = costs.estimate(space, every_row(space)).as_dict()
    assert {name: r.low for name, r in found.items()} == pytest.approx(
        {name: v.min() for name, v in every.items()}, rel=1e-12
    )
    assert {name: r.high for name, r in found.items()} == pytest.approx(
        {name: v.max() for name, v in every.items()}, rel=1e-12
    )


def test_a_stage_of_many_combinations_is_soon_done():
    stage = {
        "dim": 64,
        "depth": list(range(1, 65)),
        "mlp_ratio": [1 + i / 16 for i in range(60)],
        "attention_ratio": [i / 64 for i in range(64)],
        "stacking": ["alternate", "tail"],
        "heads": 1,
    }
    small = {"dim": 64, "depth": 1}
    config = SpaceConfig.model_validate({"stages": [small, stage, small, small]})  # 491,520
    start = time.process_time()
    found = costs.bounds(SearchSpace(config))
    assert time.process_time() - start < 30  # about 2 s on a quiet machine
    assert found["params"].low < found["params"].high
