"""The fused network is the plain one: whatever its architecture, its weights and its images."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from smt_nas.arch import PRESETS, Architecture, Stage, Stem, preset
from smt_nas.models import SMT, build
from smt_nas.models.blocks import LayerScale
from smt_nas.models.fused.mixed_convolution import (
    MergedHeads,
    SeparateHeads,
    SingleHead,
    is_merged,
)
from smt_nas.models.fused.packing import is_packable
from smt_nas.models.mixers import SAM
from smt_nas.space import SearchSpace

KERNELS = [(1,), (3,), (5, 11), (3, 5, 7, 9), (1, 3, 7), tuple(range(3, 18, 2))]


def draw_weights(model: SMT, seed: int = 0) -> SMT:
    """Numbers as training leaves them: nothing is 0 or 1, and activations keep their size."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if not tensor.is_floating_point():
                continue
            if tensor.dim() > 1:
                tensor.normal_(generator=generator).div_(tensor[0].numel() ** 0.5)
            elif "running_var" in name:
                tensor.uniform_(0.3, 3, generator=generator)
            else:
                tensor.normal_(1 if name.endswith("weight") else 0, 0.3, generator=generator)
        for module in model.modules():
            if isinstance(module, LayerScale):
                module.gamma.uniform_(-1.5, 1.5, generator=generator)
    return model.eval()


def draw_network(arch: Architecture, seed: int = 0, **options) -> SMT:
    return draw_weights(build(arch, device="meta", **options).to_empty(device="cpu"), seed)


def draw_images(arch: Architecture, *shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(shape[0], arch.in_channels, *shape[1:], generator=generator)


@torch.inference_mode()
def deviation(plain, fused, x: torch.Tensor) -> float:
    """Largest difference of what both return, relative to its spread."""
    pairs = [(plain(x), fused(x))]
    if isinstance(pairs[0][0], list):
        pairs = list(zip(*pairs[0], strict=True))
    assert all(a.shape == b.shape for a, b in pairs)
    return max(float((a - b).abs().max() / a.std()) for a, b in pairs)


def make_arch(kernels=(3, 5), image_size=32, depth=3, **fields) -> Architecture:
    """Four small stages with both mixers in the third."""
    n = 4 * len(kernels)
    tail = {"kernels": kernels, "head_dim": 4}
    stages = (
        Stage(dim=n, depth=1, kernels=kernels, mlp_ratio=1.5),
        Stage(dim=n, depth=1, kernels=kernels, expand_ratio=1, ffn_kernel=5),
        Stage(dim=2 * n, depth=depth, attention_ratio=0.5, expand_ratio=3, **tail),
        Stage(dim=n, depth=1, attention_ratio=1.0, **tail),
    )
    return Architecture(image_size=image_size, num_classes=7, stages=stages, **fields)


def list_forms(fused) -> list[type]:
    """In which form each SAM convolves, in order."""
    forms = (MergedHeads, SeparateHeads, SingleHead)
    return [type(m) for m in fused.modules() if isinstance(m, forms)]


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_equal(name):
    arch = PRESETS[name].model_copy(update={"layer_scale": 1e-4 if name == "smt_l" else None})
    model = draw_network(arch)
    assert deviation(model, model.fused(), draw_images(arch, 1, 97, 66)) < 1e-5


@pytest.mark.parametrize("image_size", [32, 1024], ids=["merged", "apart"])
@pytest.mark.parametrize("kernels", KERNELS, ids=str)
def test_every_set_of_kernels_is_equal_merged_and_apart(kernels, image_size):
    """The image size that an architecture names decides; the network takes any."""
    arch = make_arch(kernels, image_size)
    model = draw_network(arch).double()
    fused = model.fused()
    form = SingleHead if len(kernels) == 1 else MergedHeads if image_size == 32 else SeparateHeads
    assert list_forms(fused)[0] is form
    for size in ((32, 32), (33, 47), (70, 41)):
        assert deviation(model, fused, draw_images(arch, 2, *size).double()) < 1e-12


def list_covering(space: SearchSpace, depths: int) -> list[Architecture]:
    """Networks in which every option of every gene stands, of few blocks each."""
    options = [min(n, depths) if "depth" in name else n for name, n in list_genes(space)]
    rng = np.random.default_rng(0)
    shifts = rng.integers(0, 1000, len(options))
    rows = [(shifts + i) % options for i in range(max(options))]
    return space.decode(np.array(rows))


def list_genes(space: SearchSpace) -> list[tuple[str, int]]:
    return [(gene.name, len(gene.options)) for gene in space.genes]


@pytest.mark.parametrize(("name", "depths"), [("smt", 2), ("smt_micro", 4)])
def test_every_gene_of_a_space_is_equal(name, depths):
    space = SearchSpace.load(name)
    for i, arch in enumerate(list_covering(space, depths)):
        arch = arch.model_copy(update={"layer_scale": 0.5 if i % 2 else None})
        model = draw_network(arch, seed=i)
        assert deviation(model, model.fused(), draw_images(arch, 1, 32, 45)) < 1e-5, arch


stages = st.builds(
    Stage,
    dim=st.just(48),
    depth=st.integers(1, 4),
    mlp_ratio=st.sampled_from([0.5, 1.0, 2.3]),
    expand_ratio=st.integers(1, 3),
    kernels=st.sampled_from([k for k in KERNELS if 48 % len(k) == 0]),
    attention_ratio=st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    stacking=st.sampled_from(["alternate", "tail"]),
    head_dim=st.sampled_from([1, 4, 16, 48]),
    ffn_kernel=st.sampled_from([3, 5]),
)
architectures = st.builds(
    Architecture,
    image_size=st.sampled_from([32, 512]),
    num_classes=st.sampled_from([2, 9]),
    in_channels=st.integers(1, 4),
    stem=st.builds(Stem, kernel=st.sampled_from([3, 5, 7]), stride=st.sampled_from([2, 4])),
    stages=st.tuples(stages, stages, stages, stages),
    layer_scale=st.sampled_from([None, 0.5]),
)


@settings(max_examples=25)
@given(arch=architectures, height=st.integers(32, 70), width=st.integers(32, 70))
def test_any_network_is_equal_on_any_image(arch, height, width):
    """In double, where a wrong fold shows and two logits close to each other do not."""
    model = draw_network(arch).double()
    assert deviation(model, model.fused(), draw_images(arch, 1, height, width).double()) < 1e-9


def test_maps_and_pooled_features_are_equal():
    arch = make_arch()
    maps = draw_network(arch, features_only=True)
    assert deviation(maps, maps.fused(), draw_images(arch, 2, 40, 33)) < 1e-5
    assert maps.fused().feature_info.channels() == maps.feature_info.channels()
    pooled = draw_network(arch)
    pooled.reset_classifier(0)
    assert deviation(pooled, pooled.fused(), draw_images(arch, 2, 40, 33)) < 1e-5
    assert pooled.fused().num_classes == 0


def test_the_plain_network_is_left_as_it_was_and_shares_nothing():
    model = draw_network(make_arch(layer_scale=0.1))
    before, kept = copy.deepcopy(model.state_dict()), model.fused()
    x = draw_images(model.arch, 1, 32, 32)
    first = kept(x)
    assert not any(p.requires_grad for p in kept.parameters()) and not kept.training
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    draw_weights(model, seed=5)
    assert torch.equal(kept(x), first)
    assert deviation(model, model.fused(), x) < 1e-5


@pytest.mark.skipif(not is_packable(torch.empty(1)), reason="no x86 CPU with oneDNN")
@pytest.mark.parametrize("image_size", [32, 1024], ids=["merged", "apart"])
def test_packed_weights_compute_the_same_for_any_image(image_size):
    model = draw_network(make_arch((3, 5, 9), image_size))
    packed = model.fused().packed()
    assert not any(isinstance(m, torch.nn.Linear | torch.nn.Conv2d) for m in packed.modules())
    for size in ((1, 32, 32), (3, 47, 66)):
        assert deviation(model, packed, draw_images(model.arch, *size)) < 1e-5
    wide = draw_network(preset("smt_t"))
    assert deviation(wide, wide.fused().packed(), draw_images(wide.arch, 2, 64, 96)) < 1e-5


def test_what_cannot_be_packed_stays_as_it_is(monkeypatch):
    fused = draw_network(make_arch()).fused()
    assert fused.double().packed() is fused
    monkeypatch.setattr("smt_nas.models.fused.packing._OPERATORS", ("absent",))
    assert fused.float().packed() is fused


def test_precision_and_device_are_those_of_the_plain_network():
    assert {p.dtype for p in draw_network(make_arch()).bfloat16().fused().parameters()} == {
        torch.bfloat16
    }
    meta = build("smt_micro", device="meta").fused()
    assert meta(torch.empty(2, 3, 32, 32, device="meta")).shape == (2, 10)


def test_the_published_kernels_are_merged_from_the_second_stage_on():
    sizes = [(64, 56), (128, 28), (256, 14)]
    merged = [is_merged((3, 5, 7, 9), dim, (size, size)) for dim, size in sizes]
    assert merged == [False, True, True]
    fused = build("smt_t", device="meta").fused()
    assert list_forms(fused) == [SeparateHeads] * 2 + [MergedHeads] * 6
    assert not any(isinstance(m, SAM | torch.nn.BatchNorm2d) for m in fused.modules())


def test_it_exports_with_any_batch_and_compiles_in_one_graph():
    model = draw_network(make_arch(kernels=(3, 9), image_size=1024, depth=2))
    fused, x = model.fused(), draw_images(model.arch, 2, 32, 40)
    assert list_forms(fused) == [SeparateHeads, SeparateHeads, MergedHeads]
    compiled = torch.compile(fused, backend="aot_eager", fullgraph=True)
    assert deviation(model, compiled, x) < 1e-5
    batch = {"x": {0: torch.export.Dim("batch", max=64)}}
    program = torch.export.export(fused, (x,), dynamic_shapes=batch).module()
    for n in (1, 3):
        assert deviation(model, program, draw_images(model.arch, n, 32, 40)) < 1e-5


def test_gradients_reach_the_image():
    model = draw_network(preset("smt_micro"))
    x = draw_images(model.arch, 1, 32, 32).requires_grad_()
    grads = [torch.autograd.grad(net(x).square().sum(), x)[0] for net in (model, model.fused())]
    torch.testing.assert_close(*grads, rtol=1e-3, atol=1e-4)
