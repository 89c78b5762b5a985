"""Official weights: names and shapes, both ways, and what happens when they do not fit."""

from pathlib import Path

import pytest
import torch

from smt_nas.arch import PRESETS, Architecture, Stage, Stem
from smt_nas.errors import ConfigError
from smt_nas.models import build, from_official, is_official, load_official, to_official

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


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.module.", "backbone.", "model.net."])
def test_wrappers_around_a_released_state_do_not_matter(prefix):
    one, other = fresh(TINY, seed=1), fresh(TINY, seed=2)
    state = {prefix + k: v for k, v in to_official(one).items()}
    load_official(other, {"state_dict": state, "epoch": 3})
    assert same(state_of(one), state_of(other))


def test_an_average_is_loaded_when_asked_for_or_alone():
    one, two, net = (fresh(TINY, seed=seed) for seed in (1, 2, 3))
    both = {"model": to_official(one), "model_ema": to_official(two)}
    load_official(net, both)
    assert same(state_of(net), state_of(one))
    load_official(net, both, ema=True)
    assert same(state_of(net), state_of(two))
    load_official(net, {"model": to_official(one)})
    load_official(net, {"model_ema": both["model_ema"]})
    assert same(state_of(net), state_of(two))
    with pytest.raises(ConfigError, match="have the average asked for"):
        load_official(net, {"model": to_official(one)}, ema=True)
    with pytest.raises(ConfigError, match="must be of one network"):
        load_official(net, {"student": to_official(one), "teacher": to_official(two)})


def test_a_network_with_another_ffn_kernel_has_no_official_form():
    last = TINY.stages[3].model_copy(update={"ffn_kernel": 5})
    model = build(TINY.model_copy(update={"stages": (*TINY.stages[:3], last)}))
    with pytest.raises(ConfigError, match=r"ffn_kernel must be 3 in every stage \(got \[5\]\)"):
        to_official(model)


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


def test_published_weights_are_refused_by_a_network_of_another_ffn_kernel():
    first = TINY.stages[0].model_copy(update={"ffn_kernel": 5})
    model = build(TINY.model_copy(update={"stages": (first, *TINY.stages[1:])}))
    told = r"block1\.0\.mlp\.dwconv\.dwconv\.weight is \(32, 1, 3, 3\), not \(32, 1, 5, 5\)"
    with pytest.raises(ConfigError, match=told):
        load_official(model, to_official(fresh(TINY, seed=1)))


def test_a_long_list_of_keys_is_cut():
    with pytest.raises(ConfigError, match=r"190 missing: .* and 186 more\)"):
        load_official(build(TINY), {})


def test_weights_with_layer_scale_point_to_the_setting():
    scaled = build(TINY.model_copy(update={"layer_scale": 1e-4}))
    with pytest.raises(ConfigError, match=r"12 unexpected: .*gamma_1.*layer_scale"):
        load_official(build(TINY), to_official(scaled))
    with pytest.raises(ConfigError, match=r"12 missing: .*gamma_1.*layer_scale"):
        load_official(scaled, to_official(build(TINY)))


@pytest.mark.parametrize("arch", VARIANTS.values(), ids=VARIANTS.keys())
def test_no_network_is_needed_to_come_back(arch):
    model = fresh(arch, seed=1)
    state, left = from_official(to_official(model))
    assert left == [] and same(state, state_of(model))


def test_what_is_released_is_known_and_comes_back_as_copies():
    model = fresh(TINY, seed=1)
    released = {"model": to_official(model), "epoch": 299}
    assert is_official(released) and is_official(released["model"])
    assert not is_official(state_of(model)) and not is_official({})
    state, _ = from_official(released)
    for value in released["model"].values():
        value.zero_()
    assert same(state, state_of(model))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("block2.0.attn.unknown.weight", torch.zeros(2)),
        ("block5.0.norm1.weight", torch.zeros(2)),
        ("block1.norm1.weight", torch.zeros(2)),
        ("block1.x.norm1.weight", torch.zeros(2)),
        ("norm1.more.weight", torch.zeros(2)),
        ("patch_embed2.more.weight", torch.zeros(2)),
        ("block1.0.attn.local_conv_0.weight", torch.zeros(2)),
        ("layer1.0.conv1.weight", torch.zeros(2)),
        ("head.bias", [1.0, 2.0]),
        ("plain", torch.zeros(2)),
        (3, torch.zeros(2)),
    ],
)
def test_what_has_no_place_is_left_and_named(key, value):
    official = to_official(fresh(TINY, seed=1))
    official[key] = value
    state, left = from_official(official)
    assert left == [str(key)]
    assert state.keys() == state_of(fresh(TINY, seed=1)).keys() - {key}


@pytest.mark.parametrize(
    "q", [None, torch.zeros(4, 9), torch.tensor(1.0)], ids=["no", "narrow", "scalar"]
)
def test_a_part_whose_other_part_does_not_fit_is_left(q):
    official = to_official(fresh(TINY, seed=1))
    name = "block4.0.attn.q.weight"
    del official[name]
    official |= {} if q is None else {name: q}
    state, left = from_official(official)
    assert set(left) == {"block4.0.attn.kv.weight"} | ({name} if q is not None else set())
    assert "stages.3.blocks.0.mixer.qkv.weight" not in state


def test_shapes_are_not_judged_without_a_network():
    official = to_official(fresh(TINY, seed=1))
    official["head.weight"] = torch.zeros(21_841, 7)
    official["block1.0.attn.proj0.weight"] = torch.zeros(3)
    state, left = from_official(official)
    assert left == [] and state["head.weight"].shape == (21_841, 7)
    assert state["stages.0.blocks.0.mixer.aggregate.weight"].shape == (3,)
