"""Official weights: names and shapes, both ways, and what happens when they do not fit."""

from pathlib import Path

import pytest
import torch

from smt_nas.arch import PRESETS, Architecture, Stage, Stem
from smt_nas.errors import ConfigError
from smt_nas.models import build, load_official, to_official

TSV = Path(__file__).resolve().parents[1] / "data" / "smt_t_state_dict.tsv"
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
VARIANTS = {
    "smt_t": PRESETS["smt_t"],
    "tiny": TINY,
    "layer scale": TINY.model_copy(update={"layer_scale": 1e-2}),
    "stem": TINY.model_copy(update={"stem": Stem(kernel=7, stride=2), "in_channels": 1}),
    "eight heads": TINY.model_copy(
        update={"stages": (Stage(dim=8, depth=1, kernels=tuple(range(1, 17, 2))), *TINY.stages[1:])}
    ),
}


def fresh(arch, seed):
    """A network whose every number differs, running statistics too."""
    generator = torch.Generator().manual_seed(seed)
    model = build(arch, generator=generator)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor.uniform_(0.1, 1, generator=generator)
    return model.eval()


def state_of(model):
    return {k: v.clone() for k, v in model.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_keys_and_shapes_of_smt_t_are_the_published_ones():
    rows = [line.split("\t")[:2] for line in TSV.read_text().splitlines()[1:]]
    published = dict(rows)
    assert len(published) == 386
    ours = to_official(build("smt_t"))
    assert {k: "x".join(map(str, v.shape)) or "scalar" for k, v in ours.items()} == published


@pytest.mark.parametrize("arch", VARIANTS.values(), ids=VARIANTS.keys())
def test_there_and_back(arch):
    one, other = fresh(arch, seed=1), fresh(arch, seed=2)
    assert not same(state_of(one), state_of(other))
    load_official(other, to_official(one))
    assert same(state_of(one), state_of(other))
    x = torch.randn(1, arch.in_channels, 32, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(one(x), other(x))


def test_a_released_checkpoint_is_wrapped():
    one, other = fresh(TINY, seed=1), fresh(TINY, seed=2)
    load_official(other, {"model": to_official(one), "epoch": 299, "optimizer": {}})
    assert same(state_of(one), state_of(other))


def test_a_backbone_takes_no_head():
    one = fresh(TINY, seed=1)
    backbone = build(TINY, features_only=True)
    load_official(backbone, to_official(one))
    own = backbone.state_dict()
    assert own and all(torch.equal(v, one.state_dict()[k]) for k, v in own.items())
    assert "head.weight" not in to_official(backbone)


def test_weights_come_in_the_precision_of_the_model():
    model = build(TINY).double()
    load_official(model, to_official(fresh(TINY, seed=1)))
    assert {v.dtype for v in model.state_dict().values()} == {torch.float64, torch.int64}


def test_what_is_handed_over_is_a_copy():
    model = fresh(TINY, seed=1)
    before = state_of(model)
    for value in to_official(model).values():
        value.zero_()
    assert same(before, state_of(model))


def without(state):
    del state["block2.0.attn.local_conv_3.weight"]


def foreign(state):
    state["block9.0.attn.dw_conv.weight"] = torch.zeros(3)


def misshapen(state):
    state["block2.0.attn.local_conv_1.weight"] = torch.zeros(4, 1, 3, 3)


def no_tensor(state):
    state["head.bias"] = [1.0, 2.0]


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (without, "1 missing: block2.0.attn.local_conv_3.weight"),
        (foreign, "1 unexpected: block9.0.attn.dw_conv.weight"),
        (misshapen, "block2.0.attn.local_conv_1.weight is (4, 1, 3, 3), not (4, 1, 1, 1)"),
        (no_tensor, "head.bias is a list, not (5,)"),
    ],
)
def test_what_does_not_fit_is_told_and_changes_nothing(damage, told):
    model = fresh(TINY, seed=2)
    before, state = state_of(model), to_official(fresh(TINY, seed=1))
    damage(state)
    with pytest.raises(ConfigError) as error:
        load_official(model, state)
    assert told in str(error.value)
    assert same(before, state_of(model))


def test_a_long_list_of_keys_is_cut():
    with pytest.raises(ConfigError, match=r"190 missing: .* and 186 more\)"):
        load_official(build(TINY), {})


def test_weights_with_layer_scale_point_to_the_setting():
    scaled = build(TINY.model_copy(update={"layer_scale": 1e-4}))
    with pytest.raises(ConfigError, match=r"12 unexpected: .*gamma_1.*layer_scale"):
        load_official(build(TINY), to_official(scaled))
    with pytest.raises(ConfigError, match=r"12 missing: .*gamma_1.*layer_scale"):
        load_official(scaled, to_official(build(TINY)))
