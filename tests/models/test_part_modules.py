"""Parts as modules: a chain of them is the network."""

from collections import Counter

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from smt_nas import PRESETS, SearchSpace, costs
from smt_nas.costs.parts import Part, decompose
from smt_nas.models import build
from smt_nas.models.part_modules import build_part, input_shape


def chain(arch):
    return torch.nn.Sequential(*map(build_part, decompose(arch)))


@pytest.mark.parametrize("name", ["smt", "smt_micro"])
@pytest.mark.parametrize("layer_scale", [None, 0.5])
def test_a_chain_of_parts_computes_what_the_network_computes(name, layer_scale):
    space = SearchSpace.load(name)
    arch = space.decode(space.sample(np.random.default_rng(3), 1))[0]
    arch = arch.model_copy(update={"image_size": 64, "layer_scale": layer_scale})
    network, parts = build(arch).eval(), chain(arch).eval()
    tensors = list(network.state_dict().values())
    state = dict(zip(parts.state_dict(), tensors, strict=True))  # both in the order they run
    parts.load_state_dict(state)
    image = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(parts(image), network(image))


@pytest.mark.parametrize("name", [*PRESETS, "smt", "smt_micro"])
def test_macs_of_parts_add_up_to_those_of_the_network(name):
    if name in PRESETS:
        archs = [PRESETS[name]]
    else:
        space = SearchSpace.load(name)
        archs = space.decode(space.sample(np.random.default_rng(0), 10))
    known: dict[Part, int] = {}
    for arch in archs:
        parts = Counter(decompose(arch))
        for part in parts:
            known.setdefault(part, macs(part))
        assert sum(known[p] * n for p, n in parts.items()) == costs.of(arch).macs


def macs(part):
    with torch.device("meta"):
        module = build_part(part)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(torch.empty(1, *input_shape(part), device="meta"))
    return counter.get_total_flops() // 2
