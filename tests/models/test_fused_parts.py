"""The deploy form of parts: a chain of them is the fused network."""

import numpy as np
import pytest
import torch

from smt_nas import SearchSpace
from smt_nas.costs.parts import decompose
from smt_nas.models import build
from smt_nas.models.fused.fused_parts import fuse_part
from smt_nas.models.part_modules import build_part


@pytest.mark.parametrize("name", ["smt", "smt_micro"])
def test_a_chain_of_fused_parts_computes_what_the_fused_network_computes(name):
    space = SearchSpace.load(name)
    arch = space.decode(space.sample(np.random.default_rng(5), 1))[0]
    arch = arch.model_copy(update={"image_size": 64, "layer_scale": 0.5})
    network, parts = build(arch).eval(), decompose(arch)
    modules = torch.nn.ModuleList(map(build_part, parts))
    tensors = list(network.state_dict().values())
    modules.load_state_dict(dict(zip(modules.state_dict(), tensors, strict=True)))
    fused = [fuse_part(module, part) for module, part in zip(modules, parts, strict=True)]
    image = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        expected = network.fused()(image)
        x = image
        for module in fused:
            x = module(x)
    assert torch.equal(x, expected)
