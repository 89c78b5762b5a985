"""SMT as a model of timm: what timm asks of its own models, and the same numbers as `SMT`."""

import pytest
import torch

import smt_nas.timm
from smt_nas.arch import PRESETS, SMALL_PRESETS
from smt_nas.errors import ConfigError
from smt_nas.models import build, to_official
from smt_nas.timm import TimmSMT, checkpoint_filter_fn
from smt_nas.train.weights.tensors import write_tensors

timm = smt_nas.timm.timm
MICRO = SMALL_PRESETS["smt_micro"]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def images(channels=3, height=48, width=64):
    return torch.randn(2, channels, height, width, generator=seeded(1))


def micro(**options):
    return timm.create_model("smt", config=MICRO, **options)


def plain_and_timm(**options):
    """An `SMT` with fresh weights, and the model of timm with the same."""
    plain = build(MICRO, generator=seeded()).eval()
    model = micro(**options).eval()
    model.load_state_dict(plain.state_dict())
    return plain, model


@pytest.mark.parametrize("name", PRESETS)
def test_the_published_networks_are_in_the_registry(name):
    assert name in timm.list_models("smt_*")
    assert not timm.is_model_pretrained(name)
    model = timm.create_model(name, device="meta")
    own = build(name, device="meta").state_dict()
    assert {k: v.shape for k, v in model.state_dict().items()} == {
        k: v.shape for k, v in own.items()
    }
    assert model.pretrained_cfg["input_size"] == (3, 224, 224)
    assert model.num_classes == 1000


def test_the_logits_are_those_of_the_plain_network_bit_for_bit():
    plain, model = plain_and_timm()
    assert isinstance(model, TimmSMT)
    assert list(model.state_dict()) == list(plain.state_dict())
    for x in (images(), images(height=33, width=71)):
        assert torch.equal(model(x), plain(x))
    torch.manual_seed(3)
    expected = plain.train()(images())
    torch.manual_seed(3)
    assert torch.equal(model.train()(images()), expected)


def test_a_training_step_reaches_every_parameter():
    model = micro(num_classes=7).train()
    out = model(images())
    out.mean().backward()
    assert out.shape == (2, 7) and out.isfinite().all()
    without = [name for name, p in model.named_parameters() if p.grad is None]
    assert not without


def test_the_pretrained_config_describes_the_model():
    model = micro(img_size=(48, 64), in_chans=1)
    cfg, state = model.pretrained_cfg, model.state_dict()
    assert cfg["input_size"] == (3, 48, 64)  # of what weights were trained with
    assert state[f"{cfg['first_conv']}.weight"].shape[1] == 1
    assert model.get_classifier() is model.get_submodule(cfg["classifier"])
    data = timm.data.resolve_data_config({}, model=micro(img_size=64))
    assert data["input_size"] == (3, 64, 64)
    assert (data["crop_pct"], data["interpolation"]) == (0.875, "bicubic")
    assert model(images(channels=1)).shape == (2, 10)


def test_the_head_can_be_taken_off_and_replaced():
    plain, model = plain_and_timm()
    x = images()
    last_map = model.forward_features(x)
    assert model.output_fmt == "NHWC" and last_map.shape == (2, 3, 4, 128)
    pooled = plain.forward_features(x).mean(dim=(1, 2))
    assert torch.equal(model.forward_head(last_map, pre_logits=True), pooled)
    model.reset_classifier(0)
    assert torch.equal(model(x), pooled)
    model.reset_classifier(5)
    assert model(x).shape == (2, 5)
    model.reset_classifier(0, "")
    assert torch.equal(model(x), last_map)
    assert micro(num_classes=0)(x).shape == (2, model.head_hidden_size)


@pytest.mark.parametrize(
    ("pool", "expected"),
    [
        ("max", lambda m: m.amax(dim=(1, 2))),
        ("avgmax", lambda m: 0.5 * (m.mean(dim=(1, 2)) + m.amax(dim=(1, 2)))),
        ("catavgmax", lambda m: torch.cat([m.mean(dim=(1, 2)), m.amax(dim=(1, 2))], 1)),
    ],
)
def test_timms_poolings(pool, expected):
    model = micro(global_pool=pool).eval()
    features = model.forward_features(images())
    pooled = expected(features)
    torch.testing.assert_close(model.forward_head(features, pre_logits=True), pooled)
    assert model.head.in_features == pooled.shape[1]
    assert model(images()).shape == (2, 10)


def test_a_pooling_that_timm_lacks_is_one_line():
    with pytest.raises(ConfigError, match=r"global_pool: must be one of avg, max.*got 'mean'"):
        micro(global_pool="mean")


def test_features_are_the_maps_that_feature_info_describes():
    model = micro(features_only=True)
    x = images(height=64, width=96)
    maps = model(x)
    assert model.feature_info.channels() == [y.shape[1] for y in maps] == [16, 32, 64, 128]
    assert model.feature_info.reduction() == [2, 4, 8, 16]
    for y, step in zip(maps, model.feature_info.reduction(), strict=True):
        assert y.shape[2:] == (64 // step, 96 // step)
    chosen = micro(features_only=True, out_indices=(0, -2))
    assert [y.shape[1] for y in chosen(x)] == chosen.feature_info.channels() == [16, 64]
    assert len(chosen.model.stages) == 3  # the last stage is not needed
    own = build(MICRO, features_only=True, generator=seeded()).eval()
    model.eval().model.load_state_dict(own.state_dict())
    assert all(map(torch.equal, model(x), own(x)))


def test_intermediate_maps():
    plain, model = plain_and_timm()
    x = images()
    last, maps = model.forward_intermediates(x)
    assert torch.equal(last, plain.forward_features(x))
    assert len(maps) == 4 and torch.equal(maps[-1].permute(0, 2, 3, 1), last)
    nhwc = model.forward_intermediates(x, output_fmt="NHWC", intermediates_only=True, norm=True)
    assert all(torch.equal(a.permute(0, 3, 1, 2), b) for a, b in zip(nhwc, maps, strict=True))
    stopped, two = model.forward_intermediates(x, indices=[0, 1], stop_early=True)
    assert torch.equal(stopped, nhwc[1]) and all(map(torch.equal, two, maps[:2]))
    (third,) = model.forward_intermediates(x, indices=[-2], intermediates_only=True)
    assert torch.equal(third, maps[2])
    last_two = model.forward_intermediates(x, indices=2, intermediates_only=True)
    assert all(map(torch.equal, last_two, maps[2:]))


@pytest.mark.parametrize("bad", [{"indices": [4]}, {"indices": 5}, {"indices": []}, {"indices": 0}])
def test_a_stage_that_is_not_there_is_one_line(bad):
    with pytest.raises(ConfigError, match="indices: must be stages from -4 to 3"):
        micro().forward_intermediates(images(), **bad)
    with pytest.raises(ConfigError, match="output_fmt: must be NCHW or NHWC"):
        micro().forward_intermediates(images(), output_fmt="NLC")


def test_gradient_checkpointing_changes_no_number():
    _, model = plain_and_timm()
    model.train()
    grads = []
    for on in (False, True):
        model.set_grad_checkpointing(on)
        model.zero_grad()
        model(images()).sum().backward()
        grads.append([p.grad.clone() for p in model.parameters()])
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other)


def test_parameter_groups_decay_by_layer():
    from timm.optim import create_optimizer_v2, param_groups_layer_decay

    model = micro()
    blocks = sum(len(stage.blocks) for stage in model.stages)
    groups = param_groups_layer_decay(model, weight_decay=0.05, layer_decay=0.5)
    count = sum(len(g["params"]) for g in groups)
    assert count == len(list(model.parameters()))
    scales = sorted({g["lr_scale"] for g in groups})
    assert len(scales) == blocks + 2 and scales[-1] == 1.0  # stem, blocks, head
    assert all(p.ndim > 1 for g in groups for p in g["params"] if g["weight_decay"])
    assert model.no_weight_decay() == set()
    create_optimizer_v2(model, "adamw", lr=1e-3, layer_decay=0.7)


def test_drop_path_and_dropout_are_set_as_in_timm():
    model = micro(drop_path_rate=0.3, drop_rate=0.5).train()
    rates = [block.drop_path.rate for stage in model.stages for block in stage.blocks]
    assert rates[0] == 0 and rates[-1] == pytest.approx(0.3) and rates == sorted(rates)
    features = model.forward_features(images())
    dropped = (model.forward_head(features, pre_logits=True) == 0).float().mean()
    assert 0.3 < dropped < 0.7


def official_checkpoint(state):
    plain = build(MICRO)
    plain.load_state_dict(state)
    return {"model": to_official(plain), "epoch": 3}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: s,
        lambda s: {"state_dict": {f"module.{k}": v for k, v in s.items()}},
        lambda s: {"model": {f"_orig_mod.{k}": v.half() for k, v in s.items()}},
        official_checkpoint,
    ],
)
def test_checkpoints_of_ours_and_of_the_published_code_load(wrap, tmp_path):
    plain, _ = plain_and_timm()
    state = wrap(plain.state_dict())
    filtered = checkpoint_filter_fn(state, plain)
    assert set(filtered) == set(plain.state_dict())
    torch.save(state, tmp_path / "w.pth")
    file = str(tmp_path / "w.pth")
    model = micro(pretrained=True, pretrained_cfg_overlay={"file": file}).eval()
    torch.testing.assert_close(model(images()), plain(images()), rtol=0, atol=2e-3)  # half


def test_weights_of_another_network_say_what_is_missing():
    other = build(MICRO.model_copy(update={"layer_scale": 1e-4})).state_dict()
    model = micro()
    with pytest.raises(RuntimeError, match=r"Unexpected key.*gamma"):
        model.load_state_dict(checkpoint_filter_fn(other, model))
    left = checkpoint_filter_fn({**to_official(build(MICRO)), "block9.0.x": torch.ones(1)}, model)
    assert "block9.0.x" in left
    assert checkpoint_filter_fn({"fc.weight": torch.ones(1)}, model) == {"fc.weight": 1}


def test_a_network_gets_a_name_and_weights_of_its_own(tmp_path):
    plain, _ = plain_and_timm()
    write_tensors(tmp_path / "w.safetensors", plain.state_dict(), {})
    smt_nas.timm.register(
        MICRO, "smt_found", tmp_path / "w.safetensors", mean=(0.5,) * 3, crop_pct=1.0
    )
    assert timm.is_model_pretrained("smt_found")
    model = timm.create_model("smt_found", pretrained=True).eval()
    assert torch.equal(model(images()), plain(images()))
    assert model.pretrained_cfg["mean"] == (0.5,) * 3
    fewer = timm.create_model("smt_found", pretrained=True, num_classes=4, in_chans=1).eval()
    assert fewer(images(channels=1)).shape == (2, 4)
    features = timm.create_model("smt_found", pretrained=True, features_only=True).eval()
    assert torch.equal(features(images())[3].permute(0, 2, 3, 1), plain.forward_features(images()))


@pytest.mark.parametrize("name", ["resnet18", "smt_t", "smt", "mine.v2"])
def test_a_name_that_is_taken_is_one_line(name):
    with pytest.raises(ConfigError, match="must be free in timm"):
        smt_nas.timm.register(MICRO, name)


def test_weights_that_are_nowhere_are_one_line():
    with pytest.raises(ConfigError, match=r"timm model smt_t: must have weights.*'file'"):
        timm.create_model("smt_t", pretrained=True)
    with pytest.raises(ConfigError, match="must have a config"):
        timm.create_model("smt")
