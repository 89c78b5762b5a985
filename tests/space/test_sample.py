"""Samples: plain values by gene, both ways."""

import json

import numpy as np
import pytest

from smt_nas.errors import SpaceError
from smt_nas.space import SearchSpace
from smt_nas.space.sample import list_options, make_samples, read_samples

SPACE = SearchSpace.load("smt_micro")
GENES = SPACE.sample(np.random.default_rng(0), 20)


def test_samples_are_json_and_give_the_genes_back():
    samples = json.loads(json.dumps(make_samples(SPACE, GENES)))
    assert np.array_equal(read_samples(SPACE, samples), GENES)
    for name, options in list_options(SPACE).items():
        assert all(sample[name] in options for sample in samples)


def test_what_has_no_effect_does_not_count_and_what_is_not_a_gene_is_left_alone():
    [sample] = make_samples(SPACE, GENES[:1])
    sample |= {"stage1.attention_ratio": 0.0, "learning_rate": 0.1}
    other = sample | {"stage1.heads": list_options(SPACE)["stage1.heads"][-1]}
    assert np.array_equal(read_samples(SPACE, [sample]), read_samples(SPACE, [other]))


@pytest.mark.parametrize(("value", "got"), [(17, "17"), ([1, 2], r"\[1, 2\]"), (None, "None")])
def test_a_value_that_is_no_option_is_named_with_its_gene(value, got):
    [sample] = make_samples(SPACE, GENES[:1])
    with pytest.raises(SpaceError, match=rf"smt_micro: stage1.dim must be one of .*got {got}"):
        read_samples(SPACE, [sample | {"stage1.dim": value}])
