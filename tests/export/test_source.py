"""What is handed over: presets, configs, checkpoints of ours and of others, folders of runs."""

import pytest
import torch

from smt_nas.arch import PRESETS, SMALL_PRESETS
from smt_nas.errors import ConfigError, StoreError, UnknownName
from smt_nas.export import load_export_source
from smt_nas.models import build, to_official
from smt_nas.train.recipe import EvalTransform
from smt_nas.train.weights.card import Card
from smt_nas.train.weights.checkpoint import save_weights

TINY = SMALL_PRESETS["smt_micro"].model_copy(update={"num_classes": 3})


@pytest.fixture
def model():
    return build(TINY, generator=torch.Generator().manual_seed(5)).eval()


@pytest.fixture
def config(tmp_path):
    SMALL_PRESETS["smt_micro"].save(tmp_path / "net.yaml")
    return str(tmp_path / "net.yaml")


def card(arch=TINY):
    return Card(
        arch=arch,
        classes=("a", "b", "c"),
        mean=(0.5,) * 3,
        std=(0.25,) * 3,
        evaluation=EvalTransform(crop_pct=0.9),
        image_size=32,
        recipe="small",
        data="digits",
        seed=0,
        epoch=1,
        update=1,
        weights="model",
    )


def outputs(network):
    with torch.inference_mode():
        return network(torch.ones(1, 3, 32, 32))


def test_a_preset_has_fresh_weights_always_the_same():
    first, second = (load_export_source("smt_micro") for _ in range(2))
    assert first.name == "smt_micro" and first.weights.file is None
    assert torch.equal(outputs(first.model), outputs(second.model))
    assert not first.model.training and not next(first.model.parameters()).requires_grad


def test_our_weights_say_all_themselves(model, tmp_path):
    save_weights(tmp_path / "best.safetensors", card(), model.state_dict())
    for spec in (tmp_path / "best.safetensors", tmp_path):
        source = load_export_source(str(spec))
        assert source.arch == TINY and source.classes == ("a", "b", "c")
        assert source.transform == EvalTransform(crop_pct=0.9) and source.mean == (0.5,) * 3
        assert torch.equal(outputs(source.model), outputs(model))
    assert source.name == tmp_path.name


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "model."])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_weights_as_trainers_wrap_them_and_in_half_precision(
    model, config, tmp_path, prefix, dtype
):
    state = {f"{prefix}{k}": v.to(dtype) for k, v in model.state_dict().items() if v.dim()}
    counters = {f"{prefix}{k}": v for k, v in model.state_dict().items() if not v.dim()}
    torch.save({"state_dict": state | counters}, tmp_path / "w.pth")
    source = load_export_source(config, str(tmp_path / "w.pth"))
    assert source.arch.num_classes == 3 and source.model.head.weight.dtype == torch.float32
    assert torch.allclose(outputs(source.model), outputs(model), atol=2e-2)


def test_a_moving_average_is_taken_where_it_is_asked_for(model, config, tmp_path):
    average = {k: v * 0.5 if v.is_floating_point() else v for k, v in model.state_dict().items()}
    torch.save({"model": model.state_dict(), "model_ema": average}, tmp_path / "w.pth")
    plain = load_export_source(config, str(tmp_path / "w.pth"))
    averaged = load_export_source(config, f"{tmp_path / 'w.pth'}:ema")
    assert torch.equal(plain.model.head.weight, model.head.weight)
    assert torch.equal(averaged.model.head.weight, model.head.weight * 0.5)
    assert averaged.weights.averaged and "moving average" in averaged.weights.describe()
    assert any("model_ema" in note for note in plain.weights.notes)


def test_weights_of_the_published_code(tmp_path):
    model = build(PRESETS["smt_t"].model_copy(update={"num_classes": 2})).eval()
    torch.save({"model": to_official(model)}, tmp_path / "smt_tiny.pth")
    source = load_export_source("smt_t", str(tmp_path / "smt_tiny.pth"))
    assert source.weights.official and source.arch.num_classes == 2
    assert torch.equal(outputs(source.model), outputs(model))


def test_weights_of_another_network_say_what_is_missing_and_unexpected(model, tmp_path):
    torch.save(model.state_dict(), tmp_path / "w.pth")
    with pytest.raises(StoreError, match=r"missing: stages\..* unexpected|missing: .*shape"):
        load_export_source("smt_t", str(tmp_path / "w.pth"))


def test_weights_of_the_same_shapes_that_compute_otherwise_are_refused(model, tmp_path):
    stages = [s.model_copy(update={"head_dim": 8}) for s in TINY.stages]
    other = TINY.model_copy(update={"stages": tuple(stages)})
    other.save(tmp_path / "other.yaml")
    save_weights(tmp_path / "w.safetensors", card(), model.state_dict())
    with pytest.raises(StoreError, match="computes otherwise"):
        load_export_source(str(tmp_path / "other.yaml"), str(tmp_path / "w.safetensors"))


def test_what_weights_say_otherwise_than_a_config_is_told(model, tmp_path):
    fields = {"num_classes": 37, "layer_scale": 1e-3}
    TINY.model_copy(update=fields).save(tmp_path / "other.yaml")
    torch.save(model.state_dict(), tmp_path / "w.pth")
    source = load_export_source(str(tmp_path / "other.yaml"), str(tmp_path / "w.pth"))
    assert (source.arch.num_classes, source.arch.layer_scale) == (TINY.num_classes, None)
    classes, scales = source.weights.notes
    assert f"{TINY.num_classes} classes" in classes and "37" in classes and "no layer" in scales


def test_a_run_of_a_search_without_its_database(tmp_path):
    (tmp_path / "run" / "front").mkdir(parents=True)
    TINY.save(tmp_path / "run" / "front" / "0.yaml")
    for spec in (tmp_path / "run", tmp_path / "run" / "front" / "0.yaml"):
        source = load_export_source(str(spec))
        assert (source.arch.key, source.name) == (TINY.key, "run-0")


def test_a_run_without_a_front_says_how_to_get_one(tmp_path):
    (tmp_path / "study.db").write_text("")
    with pytest.raises(StoreError, match="smt-nas front"):
        load_export_source(str(tmp_path))


def test_what_is_neither_is_one_line(tmp_path, model):
    with pytest.raises(UnknownName, match="smt_t"):
        load_export_source("smt_tt")
    with pytest.raises(StoreError, match="no such file"):
        load_export_source(str(tmp_path / "absent.pth"))
    torch.save(model.state_dict(), tmp_path / "w.pth")
    with pytest.raises(StoreError, match="--weights"):
        load_export_source(str(tmp_path / "w.pth"))
    save_weights(tmp_path / "w.safetensors", card(), model.state_dict())
    with pytest.raises(ConfigError, match="Leave it out"):
        load_export_source(str(tmp_path / "w.safetensors"), str(tmp_path / "w.pth"))


@pytest.mark.parametrize("as_weights", [False, True])
def test_a_deployed_file_is_no_network_to_export(as_weights, tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(b"a graph")
    spec, weights = ("smt_micro", str(path)) if as_weights else (str(path), None)
    with pytest.raises(StoreError, match=r"got a deployed file.* what it was exported from"):
        load_export_source(spec, weights)
