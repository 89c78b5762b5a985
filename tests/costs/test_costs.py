"""Costs by formula equal what is built and what torch counts."""

import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from smt_nas import PRESETS, Architecture, SearchSpace, Stage, Stem, costs
from smt_nas.models import build
from smt_nas.profilers import count, count_by_module

# of the published code: parameters; exact MACs at 224 and 384 px
PUBLISHED = {
    "smt_t": (11_506_536, 2_461_268_480, 7_694_397_440),
    "smt_s": (22_550_952, 4_838_833_152, 15_255_867_392),
    "smt_b": (32_037_352, 7_965_901_824, 25_005_953_024),
    "smt_l": (80_589_544, 17_907_127_296, 55_060_985_856),
}

ATTENTION = {  # GMACs of the two attention products at 224 and 384 px
    "smt_t": (0.081, 0.701),
    "smt_s": (0.182, 1.571),
    "smt_b": (0.280, 2.421),
    "smt_l": (0.428, 3.695),
}


def torch_macs(arch, size=None):
    return count(arch, size, tools=("torch",))["torch"].macs


def numel(arch):
    return sum(p.numel() for p in build(arch, device="meta").parameters())


@pytest.mark.parametrize("name", PUBLISHED)
def test_presets(name):
    params, at_224, at_384 = PUBLISHED[name]
    assert (costs.of(PRESETS[name]).params, costs.of(PRESETS[name]).macs) == (params, at_224)
    assert costs.of(PRESETS[name], 384).macs == at_384
    shares = [costs.of(PRESETS[name], size).attention_macs for size in (224, 384)]
    assert tuple(round(macs / 1e9, 3) for macs in shares) == ATTENTION[name]


def test_layer_scale_adds_two_vectors_a_block():
    arch = PRESETS["smt_l"].model_copy(update={"layer_scale": 1e-4})
    assert costs.of(arch).params == 80_620_264 == numel(arch)


@pytest.mark.parametrize("name", ["smt", "smt_micro"])
def test_formulas_equal_what_is_built_and_counted(name):
    space = SearchSpace.load(name)
    genes = space.sample(np.random.default_rng(0), 10)
    estimate = costs.estimate(space, genes)
    for i, arch in enumerate(space.decode(genes)):
        assert estimate.params[i] == numel(arch)
        assert estimate.macs[i] == torch_macs(arch)
        one = costs.of(arch)
        assert {k: v[i] for k, v in estimate.as_dict().items()} == one.as_dict()


@st.composite
def architectures(draw):
    def stage():
        heads, head_dim = draw(st.integers(1, 4)), draw(st.sampled_from([4, 8, 12]))
        kernels = draw(st.sets(st.sampled_from(range(3, 19, 2)), min_size=1, max_size=8))
        dim = heads * head_dim * len(kernels)
        return Stage(
            dim=dim,
            depth=draw(st.integers(1, 4)),
            mlp_ratio=draw(st.floats(0.5, 5)),
            expand_ratio=draw(st.integers(1, 3)),
            kernels=tuple(kernels),
            attention_ratio=draw(st.sampled_from([0.0, 0.25, 0.33, 0.5, 0.75, 1.0])),
            stacking=draw(st.sampled_from(["alternate", "tail"])),
            head_dim=head_dim,
            ffn_kernel=draw(st.sampled_from([3, 5])),
        )

    return Architecture(
        image_size=draw(st.integers(32, 97)),
        num_classes=draw(st.integers(1, 30)),
        in_channels=draw(st.integers(1, 4)),
        stem=Stem(kernel=draw(st.sampled_from([3, 5, 7])), stride=draw(st.sampled_from([2, 4]))),
        stages=(stage(), stage(), stage(), stage()),
        layer_scale=draw(st.sampled_from([None, 1e-4])),
    )


@settings(max_examples=16)
@given(arch=architectures(), size=st.tuples(st.integers(32, 90), st.integers(32, 90)))
def test_any_architecture_at_any_size(arch, size):
    assert costs.of(arch).params == numel(arch)
    assert costs.of(arch).macs == torch_macs(arch)
    assert costs.of(arch, size).macs == torch_macs(arch, size)


@pytest.mark.parametrize("name", ["smt_t", "smt_l"])
def test_parts_add_up_and_are_modules_that_torch_counts_alike(name):
    arch = PRESETS[name]
    parts, whole = costs.by_part(arch), costs.of(arch)
    for field in ("params", "macs", "attention_macs", "activations"):
        assert sum(getattr(p, field) for p in parts) == getattr(whole, field)
    assert max(p.peak_activation_mb for p in parts) == whole.peak_activation_mb
    counted = count_by_module(arch)
    assert {p.name: p.macs for p in parts} == {p.name: counted[p.name] for p in parts}


class Written(torch.utils._python_dispatch.TorchDispatchMode):
    """Counts elements that convolutions and matrix products write."""

    def __init__(self):
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if func.overloadpacket.__name__ in ("convolution", "addmm", "mm", "bmm"):
            self.elements += out.numel()
        return out


@pytest.mark.parametrize("seed", range(3))
def test_activations_are_what_convolutions_and_products_write(seed):
    space = SearchSpace.load("smt")
    archs = space.decode(space.sample(np.random.default_rng(seed), 5))
    for arch in (*PRESETS.values(), *archs):
        model = build(arch, device="meta").eval()  # on meta, attention is two plain products
        with torch.no_grad(), Written() as written:
            model(torch.empty(1, 3, 224, 224, device="meta"))
        assert costs.of(arch).activations == written.elements


@pytest.mark.parametrize("name", ["smt", "smt_micro"])
def test_bounds_enclose_samples_and_are_attained(name):
    from smt_nas.costs.bounds import extremes

    space = SearchSpace.load(name)
    bounds = costs.bounds(space)
    sampled = costs.estimate(space, space.sample(np.random.default_rng(1), 20_000)).as_dict()
    reached = costs.estimate(space, extremes(space)).as_dict()
    for metric, span in bounds.items():
        assert span.low <= sampled[metric].min() and sampled[metric].max() <= span.high
        assert (reached[metric].min(), reached[metric].max()) == (span.low, span.high)


def test_micro_networks_cost_1_to_40_mmacs():
    span = costs.bounds(SearchSpace.load("smt_micro"))["macs"]
    assert span.low >= 1e6 and span.high <= 40e6


def test_estimate_does_not_loop_over_architectures():
    """4,000 times the networks take far less than 4,000 times as long."""
    space = SearchSpace.load("smt")
    genes = space.sample(np.random.default_rng(0), 20_000)

    def seconds(rows):
        start = time.process_time()
        costs.estimate(space, rows)
        return time.process_time() - start

    assert min(seconds(genes) for _ in range(5)) < 800 * min(seconds(genes[:5]) for _ in range(5))
