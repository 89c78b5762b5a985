"""The network of any architecture: shapes, freedoms, weights, and how it behaves in other hands."""

import copy
import math
import pickle
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from smt_nas.arch import PRESETS, Architecture, Stage, Stem
from smt_nas.errors import ConfigError
from smt_nas.models import SMT, build, to_official
from smt_nas.models.blocks import DropPath, LayerScale
from smt_nas.models.mixers import MSA, SAM
from smt_nas.runtime.torchvision_ops import import_timm

TINY = Architecture(
    image_size=32,
    num_classes=5,
    stages=(
        Stage(dim=8, depth=1),
        Stage(dim=12, depth=1, kernels=(1, 5, 11), expand_ratio=3),
        Stage(dim=16, depth=3, attention_ratio=0.5, head_dim=8, kernels=(3, 7)),
        Stage(dim=16, depth=1, attention_ratio=1.0, head_dim=4, mlp_ratio=1.5),
    ),
)


# one block a stage, as compiling is dear: both mixers, several kernels
FEW_BLOCKS = TINY.model_copy(
    update={
        "stages": (
            *TINY.stages[:2],
            *(s.model_copy(update={"depth": 1, "attention_ratio": 1.0}) for s in TINY.stages[2:]),
        )
    }
)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def images(arch=TINY, batch=2, height=32, width=32, seed=0):
    return torch.randn(batch, arch.in_channels, height, width, generator=seeded(seed))


def lively(module, seed=0):
    """Numbers in every parameter and statistic, so that nothing is hidden by a zero or a one."""
    generator = seeded(seed)
    with torch.no_grad():
        for tensor in module.state_dict().values():
            if tensor.is_floating_point():
                tensor.uniform_(0.2, 1, generator=generator)
                if tensor.dim() > 1:
                    tensor.sub_(0.6)
    return module


def changed(**fields):
    return TINY.model_copy(update=fields)


@st.composite
def stages(draw):
    kernels = tuple(draw(st.sets(st.sampled_from(range(1, 17, 2)), min_size=1, max_size=8)))
    head_dim = draw(st.sampled_from([1, 2, 4]))
    unit = math.lcm(len(kernels), head_dim)
    return Stage(
        dim=unit * draw(st.integers(1, 3)),
        depth=draw(st.integers(1, 3)),
        mlp_ratio=draw(st.sampled_from([1.0, 1.5, 4.0])),
        expand_ratio=draw(st.integers(1, 3)),
        kernels=kernels,
        attention_ratio=draw(st.sampled_from([0.0, 0.25, 0.5, 1.0])),
        stacking=draw(st.sampled_from(["alternate", "tail"])),
        head_dim=head_dim,
    )


architectures = st.builds(
    Architecture,
    image_size=st.just(32),
    num_classes=st.integers(1, 7),
    in_channels=st.integers(1, 4),
    stem=st.builds(Stem, kernel=st.sampled_from([3, 5, 7]), stride=st.sampled_from([2, 4])),
    stages=st.tuples(stages(), stages(), stages(), stages()),
    layer_scale=st.sampled_from([None, 0.5]),
    drop_path=st.sampled_from([0.0, 0.3]),
)


def half_up(size):
    return (size + 1) // 2


@settings(max_examples=40)
@given(arch=architectures, height=st.integers(32, 70), width=st.integers(32, 70))
def test_any_architecture_takes_any_image(arch, height, width):
    model = build(arch, features_only=True, generator=seeded(0)).eval()
    x = images(arch, 1, height, width)
    sizes = [(s if arch.stem.stride == 2 else half_up(s)) // 2 for s in (height, width)]
    maps = model(x)
    for stage, y in zip(arch.stages, maps, strict=True):
        assert y.shape == (1, stage.dim, *sizes)
        assert torch.isfinite(y).all()
        sizes = [half_up(s) for s in sizes]
    whole = build(arch, generator=seeded(0)).eval()
    assert torch.equal(whole.forward_features(x), maps[-1].permute(0, 2, 3, 1))
    assert whole(x).shape == (1, arch.num_classes)
    kinds = tuple(type(b.mixer) for s in whole.stages for b in s.blocks)
    assert kinds == tuple({"sam": SAM, "msa": MSA}[m] for s in arch.stages for m in s.mixers)


def test_presets_have_the_published_size():
    sizes = {"smt_t": 11_506_536, "smt_s": 22_550_952, "smt_b": 32_037_352, "smt_l": 80_589_544}
    for name, size in sizes.items():
        assert sum(p.numel() for p in build(name, device="meta").parameters()) == size
    scaled = PRESETS["smt_l"].model_copy(update={"layer_scale": 1e-4})
    assert sum(p.numel() for p in build(scaled, device="meta").parameters()) == 80_620_264


@pytest.mark.parametrize(
    ("dim", "kernels", "expand"), [(8, (3, 5, 7, 9), 2), (12, (1, 5, 11), 3), (4, (7,), 1)]
)
def test_sam_is_the_one_of_the_paper(dim, kernels, expand):
    """Against SMT sec. 3.2 spelled out: split, depthwise, interleave, grouped 1x1, modulate."""
    stage = Stage(dim=dim, depth=1, kernels=kernels, expand_ratio=expand)
    model = lively(build(changed(stages=(stage, *TINY.stages[1:])))).double().eval()
    w = {k.removeprefix("block1.0.attn."): v for k, v in to_official(model).items()}
    x = torch.randn(2, 7, 6, dim, dtype=torch.float64, generator=seeded(1))  # (B, H, W, C)

    def conv(name, y, groups):
        weight = w[f"{name}.weight"]
        padding = weight.shape[-1] // 2
        return F.conv2d(y, weight, w[f"{name}.bias"], padding=padding, groups=groups)

    n = len(kernels)
    s = F.linear(x, w["s.weight"], w["s.bias"]).permute(0, 3, 1, 2)
    heads = [conv(f"local_conv_{i + 1}", y, dim // n) for i, y in enumerate(s.chunk(n, dim=1))]
    order = [i * (dim // n) + c for c in range(dim // n) for i in range(n)]
    y = conv("proj0", torch.cat(heads, dim=1)[:, order], dim // n)
    statistics = w["bn.running_mean"], w["bn.running_var"]
    y = F.gelu(F.batch_norm(y, *statistics, w["bn.weight"], w["bn.bias"]))
    modulator = conv("proj1", y, 1).permute(0, 2, 3, 1)
    v = F.linear(x, w["v.weight"], w["v.bias"])
    want = F.linear(modulator * v, w["proj.weight"], w["proj.bias"])
    got = model.stages[0].blocks[0].mixer(x)
    torch.testing.assert_close(got, want, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("head_dim", [1, 4, 16])
def test_msa_is_softmax_attention_with_a_local_term(head_dim):
    stage = Stage(dim=16, depth=1, attention_ratio=1.0, head_dim=head_dim)
    model = lively(build(changed(stages=(*TINY.stages[:3], stage)))).double().eval()
    w = {k.removeprefix("block4.0.attn."): v for k, v in to_official(model).items()}
    x = torch.randn(2, 3, 5, 16, dtype=torch.float64, generator=seeded(1))  # (B, H, W, C)
    q = F.linear(x, w["q.weight"], w["q.bias"])
    k, v = F.linear(x, w["kv.weight"], w["kv.bias"]).chunk(2, dim=-1)
    q, k, u = (t.reshape(2, 15, -1, head_dim).transpose(1, 2) for t in (q, k, v))
    y = (q @ k.transpose(-2, -1) / math.sqrt(head_dim)).softmax(-1) @ u
    local = [v.permute(0, 3, 1, 2), w["local_conv.weight"], w["local_conv.bias"]]
    local = F.conv2d(*local, padding=1, groups=16).permute(0, 2, 3, 1)
    y = y.transpose(1, 2).reshape(2, 3, 5, 16) + local
    want = F.linear(y, w["proj.weight"], w["proj.bias"])
    torch.testing.assert_close(model.stages[3].blocks[0].mixer(x), want, atol=1e-12, rtol=1e-12)


def test_layer_scale_scales_both_branches():
    model = build(changed(layer_scale=0.25), generator=seeded(0))
    scales = [m for m in model.modules() if isinstance(m, LayerScale)]
    assert len(scales) == 2 * 6
    assert all((s.gamma == 0.25).all() for s in scales)
    block = model.stages[0].blocks[0].eval()
    x = torch.randn(1, 4, 4, 8, generator=seeded(1))
    first = x + 0.25 * block.mixer(block.norm1(x))
    want = first + 0.25 * block.ffn(block.norm2(first))
    torch.testing.assert_close(block(x), want)


def test_drop_path_grows_linearly_over_all_blocks():
    model = build(changed(drop_path=0.5), device="meta")
    rates = [b.drop_path.rate for s in model.stages for b in s.blocks]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5])


def test_drop_path_drops_whole_samples_and_keeps_the_mean():
    torch.manual_seed(0)
    drop, x = DropPath(0.25), torch.ones(4000, 2, 2, 3)
    y = drop(x)
    kept = y[:, 0, 0, 0] > 0
    assert torch.equal(y, (kept / 0.75).reshape(-1, 1, 1, 1).expand_as(y))
    assert kept.float().mean().item() == pytest.approx(0.75, abs=0.03)
    assert drop.eval()(x) is x


def published_std(key, shape):
    """SMT's init: linear layers 0.02, convolutions sqrt(2 / fan_out)."""
    if len(shape) == 2:
        return 0.02
    out, per_group, *kernel = shape
    groups = {"dwconv": out, "local_conv": out, "proj0": out // (2 * per_group)}
    group = next((g for name, g in groups.items() if name in key), 1)
    return math.sqrt(2 * group / (math.prod(kernel) * out))


def test_fresh_weights_are_drawn_as_published():
    model = build("smt_t", generator=seeded(0))
    assert model.training
    drawn = 0
    for key, value in to_official(model).items():
        if value.dim() > 1:
            std, n = published_std(key, value.shape), value.numel()
            assert value.std().item() == pytest.approx(std, rel=4 / math.sqrt(2 * n)), key
            assert abs(value.mean().item()) < 4.5 * std / math.sqrt(n), key
            drawn += 1
        else:
            norm = "norm" in key or ".bn." in key or "conv.1." in key
            ones = norm and key.endswith((".weight", "running_var"))
            assert (value == int(ones)).all(), key
    assert drawn == 8 * 12 + 5 * 7 + 6  # SAM blocks, MSA blocks, embeddings and head


def test_weights_come_from_the_generator_alone():
    torch.manual_seed(3)
    untouched = torch.random.get_rng_state()
    one, two, other = (build(TINY, generator=seeded(s)).state_dict() for s in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), untouched)
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert not torch.equal(one["head.weight"], other["head.weight"])
    drawn = build(TINY).state_dict()["head.weight"]
    assert not torch.equal(torch.random.get_rng_state(), untouched)
    torch.manual_seed(3)
    assert torch.equal(build(TINY).state_dict()["head.weight"], drawn)


def test_on_meta_nothing_is_allocated():
    model = build("smt_t", device="meta")
    assert {t.device.type for t in model.state_dict().values()} == {"meta"}
    assert model(torch.empty(2, 3, 224, 224, device="meta")).shape == (2, 1000)


def test_a_config_file_is_a_spec_too(tmp_path):
    TINY.save(tmp_path / "tiny.yaml")
    model = build(tmp_path / "tiny.yaml", device="meta")
    assert isinstance(model, SMT)
    assert model.arch == TINY


def test_convolutions_see_channels_last_and_blocks_stay_contiguous():
    model = build(TINY, generator=seeded(0)).eval()
    strided, seen = [], []

    def convolution(module, args):
        seen.append(module)
        if not args[0].is_contiguous(memory_format=torch.channels_last):
            strided.append(module)

    for name, module in model.named_modules():
        if name.endswith(("dwconv", "aggregate", "embed.conv", "conv2")):
            module.register_forward_pre_hook(convolution)
        elif name.endswith(("norm", "norm1", "norm2")):
            module.register_forward_pre_hook(lambda _m, args: seen.append(args[0]))
    model(images())
    assert strided == []
    assert len(seen) == 14 + 20
    assert all(x.is_contiguous() for x in seen if isinstance(x, torch.Tensor))


def test_feature_info_speaks_as_timm_does():
    model = build(changed(stem=Stem(stride=2)), features_only=True)
    info = model.feature_info
    assert info.channels() == [8, 12, 16, 16]
    assert info.reduction() == [2, 4, 8, 16]
    assert info.module_name() == ["stages.0", "stages.1", "stages.2", "stages.3"]
    assert (info.channels(1), info.reduction((0, 3)), info.channels([-1])) == (12, [2, 16], [16])
    assert len(info) == 4
    assert info[2] == {"num_chs": 16, "reduction": 8, "module": "stages.2", "index": 2}
    assert info.get_dicts() == info[:]
    assert info.get_dicts(["module"], 0) == {"module": "stages.0"}
    assert info.get_dicts(["reduction"], [1, 2]) == [{"reduction": 4}, {"reduction": 8}]
    for path, channels, y in zip(info.module_name(), info.channels(), model(images()), strict=True):
        assert model.get_submodule(path).norm.normalized_shape == (channels,)
        assert y.shape[1] == channels
    assert not any(key.startswith("head") for key in model.state_dict())


def test_the_head_can_be_replaced():
    model = build(TINY, generator=seeded(0)).double().eval()
    x = images().double()
    pooled = model.forward_features(x).mean(dim=(1, 2))
    model.reset_classifier(9, generator=seeded(1))
    assert model(x).shape == (2, 9)
    assert (model.num_classes, model.arch.num_classes) == (9, 9)
    assert model.head.weight.dtype == torch.float64
    assert model.head.weight.std().item() == pytest.approx(0.02, rel=0.3)
    torch.testing.assert_close(model(x), F.linear(pooled, model.head.weight))  # its bias is 0
    model.reset_classifier(0)
    assert torch.equal(model(x), pooled)


def test_a_backbone_has_no_head_to_replace():
    with pytest.raises(ConfigError, match="features-only network has no head"):
        build(TINY, features_only=True).reset_classifier(9)


def trained(arch=TINY, checkpointing=False, compiling=False):
    """A network after one training step's forward and backward."""
    torch.manual_seed(0)  # drop path draws from the global generator
    model = build(arch, generator=seeded(0))
    model.set_grad_checkpointing(checkpointing)
    run = torch.compile(model, backend="aot_eager", fullgraph=True) if compiling else model
    run(images(arch, batch=4)).square().mean().backward()
    return model


@pytest.mark.parametrize("compiling", [False, True])
def test_checkpointing_changes_no_gradient_and_no_statistic(compiling):
    arch = (FEW_BLOCKS if compiling else TINY).model_copy(update={"drop_path": 0.3})
    plain, saving = trained(arch), trained(arch, checkpointing=True, compiling=compiling)
    for (key, a), b in zip(plain.state_dict().items(), saving.state_dict().values(), strict=True):
        assert torch.equal(a, b), key  # running statistics count the batch once
    for (key, a), b in zip(plain.named_parameters(), saving.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, msg=key)
    assert plain.stages[0].blocks[0].mixer.bn.num_batches_tracked == 1


def test_checkpointing_recomputes():
    model, calls = build(TINY, generator=seeded(0)), []
    model.stages[0].blocks[0].register_forward_pre_hook(lambda *_: calls.append(1))
    model.set_grad_checkpointing()
    model(images()).sum().backward()
    assert len(calls) == 2
    with torch.no_grad():
        model(images())
    assert len(calls) == 3
    model.set_grad_checkpointing(False)
    model(images()).sum().backward()
    assert len(calls) == 4


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_it_can_be_copied_after_a_training_step(copied):
    model = trained()
    twin = copied(model)
    assert twin.arch == model.arch
    assert torch.equal(twin.eval()(images()), model.eval()(images()))
    with torch.no_grad():
        twin.head.bias.add_(1)
    assert not torch.equal(twin(images()), model(images()))


def test_the_state_dict_goes_round(tmp_path):
    model, other = trained().eval(), build(TINY, generator=seeded(5)).eval()
    assert not torch.equal(model(images()), other(images()))
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    other.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    assert torch.equal(model(images()), other(images()))
    assert all(v.is_contiguous() for v in model.state_dict().values())  # safetensors asks for it


def test_torch_export_keeps_the_numbers_for_any_batch():
    model = trained().eval()
    batch = {"x": {0: torch.export.Dim("batch", min=1, max=64)}}
    program = torch.export.export(model, (images(batch=2),), dynamic_shapes=batch)
    x = images(batch=5, seed=4)
    torch.testing.assert_close(program.module()(x), model(x))


@pytest.mark.parametrize("training", [False, True])
def test_torch_compile_sees_one_graph(training):
    """What a training one computes once its gradients are traced too: see checkpointing above."""
    model = build(FEW_BLOCKS, generator=seeded(0)).train(training)
    backend = "eager" if training else "aot_eager"
    compiled = torch.compile(copy.deepcopy(model), backend=backend, fullgraph=True)
    torch.testing.assert_close(compiled(images()), model(images()))


def test_core_needs_no_timm():
    code = "import sys, smt_nas.models; print(sorted({'timm', 'torchvision'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def layer_of(name):
    """The layer of a parameter of TINY (depths 1, 1, 3, 1), from the stem to the head."""
    if name.startswith("head."):
        return 7
    _, stage, part, *rest = name.split(".")
    first, depth = {"0": (1, 1), "1": (2, 1), "2": (3, 3), "3": (6, 1)}[stage]
    if part == "blocks":
        return first + int(rest[0])
    if part == "norm":
        return first + depth - 1
    return 0 if stage == "0" else first


def test_timm_lets_the_rate_decay_block_by_block():
    import_timm()
    from timm.optim import create_optimizer_v2

    model = build(changed(layer_scale=0.1))
    optimizer = create_optimizer_v2(model, opt="adamw", lr=1.0, weight_decay=0.1, layer_decay=0.5)
    names = {id(p): n for n, p in model.named_parameters()}
    seen = set()
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            name = names[id(parameter)]
            seen.add(name)
            assert group["lr_scale"] == 0.5 ** (7 - layer_of(name)), name
            assert group["weight_decay"] == (0.1 if parameter.dim() > 1 else 0.0), name
    assert seen == set(names.values())


def test_coarse_layers_are_stages():
    import_timm()
    from timm.models import group_parameters

    model = build(TINY)
    found = group_parameters(model, model.group_matcher(coarse=True), reverse=True)
    stages = {n: int(n.split(".")[1]) + 1 for n in found if n.startswith("stages.")}
    stages |= {n: 0 for n in stages if n.startswith("stages.0.embed.")}
    assert found == stages | {"head.weight": 5, "head.bias": 5}
    assert found.keys() == dict(model.named_parameters()).keys()
