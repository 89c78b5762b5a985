"""The shipped spaces are what they say they are, and their networks run."""

import numpy as np
import pytest
import torch

from smt_nas import SearchSpace, build, costs
from smt_nas.files import names
from smt_nas.profilers import count

# a change of these numbers is a change of the space: say so in the changelog
SIZES = {
    "smt": 74_535_907_076_628_480,
    "smt_micro": 16_413_081_600,
    "smt_micro_supernet": 9_847_848_960,
    "smt_small": 96_953_189_639_454_720,
}

every_space = pytest.mark.parametrize("name", names("search_spaces"))


def test_every_shipped_space_has_a_recorded_size():
    assert {name: SearchSpace.load(name).size for name in names("search_spaces")} == SIZES


@every_space
def test_the_dearest_and_the_cheapest_network_are_real(name):
    from smt_nas.costs.bounds import extremes

    space = SearchSpace.load(name)
    span = costs.bounds(space)
    least_and_most = space.decode(extremes(space)[2:4])  # of MACs
    macs = [count(a, tools=("torch",))["torch"].macs for a in least_and_most]
    assert macs == [span["macs"].low, span["macs"].high]


@every_space
def test_a_sampled_network_computes(name):
    space = SearchSpace.load(name)
    arch = space.decode(space.sample(np.random.default_rng(3), 1))[0]
    model = build(arch, generator=torch.Generator().manual_seed(0)).eval()
    images = torch.randn(2, arch.in_channels, arch.image_size, arch.image_size)
    with torch.inference_mode():
        logits = model(images)
    assert logits.shape == (2, arch.num_classes)
    assert logits.isfinite().all() and not torch.equal(logits[0], logits[1])
