"""A backbone for mmdet and mmseg: built by their registry where it is installed, else by a fake."""

import importlib.util
import runpy
import subprocess
import sys
import types
from pathlib import Path

import pytest
import torch
from torch import nn

from smt_nas.arch import SMALL_PRESETS
from smt_nas.export import ExportSource, export
from smt_nas.export.codes.openmmlab import reference_maps
from smt_nas.models import build
from smt_nas.train.weights.tensors import write_tensors

ROOT = Path(__file__).resolve().parents[3]
MICRO = SMALL_PRESETS["smt_micro"]
formats = pytest.mark.parametrize("format_name", ["mmdet", "mmseg"])


@pytest.fixture(scope="module")
def source():
    model = build(MICRO, generator=torch.Generator().manual_seed(2))
    return ExportSource("run-0", MICRO, model.state_dict())


class FakeModule(nn.Module):
    """What mmengine's BaseModule does of what a backbone needs."""

    def __init__(self, init_cfg=None):
        super().__init__()
        self.init_cfg, self.is_init, self.own_init = init_cfg, False, False

    def init_weights(self):
        self.own_init = True


class FakeRegistry(dict):
    def register_module(self, name, force):
        assert force
        return lambda cls: self.setdefault(name, cls)


@pytest.fixture
def registry(monkeypatch):
    """A fake of mmengine, of its two names that the module imports."""
    made = FakeRegistry()
    model, models = types.ModuleType("mmengine.model"), types.ModuleType("mmengine.registry")
    model.BaseModule, models.MODELS = FakeModule, made
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "mmengine" else real(name)
    )
    monkeypatch.setitem(sys.modules, "mmengine", types.ModuleType("mmengine"))
    monkeypatch.setitem(sys.modules, "mmengine.model", model)
    monkeypatch.setitem(sys.modules, "mmengine.registry", models)
    return made


def load_config(folder, name):
    text = (folder / f"{name}_config.py").read_text().replace("{{ fileDirname }}", str(folder))
    namespace = {}
    exec(compile(text, "config", "exec"), namespace)
    return namespace


def build_backbone(registry, folder, name="net", **changes):
    runpy.run_path(str(folder / f"{name}.py"))
    fields = load_config(folder, name)["model"]["backbone"] | changes
    assert fields.pop("_delete_") is True
    backbone = registry[fields.pop("type")](**fields)
    backbone.init_weights()
    return backbone


@formats
def test_the_maps_are_those_of_the_network(format_name, source, registry, tmp_path):
    manifest = export(source, format_name, tmp_path / "net.py")
    assert "Written, not run: mmengine is not installed" in " ".join(manifest.notes)
    backbone = build_backbone(registry, tmp_path).eval()
    images = torch.randn(2, 3, 40, 64)
    with torch.inference_mode():
        for ours, theirs in zip(reference_maps(source)(images), backbone(images), strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)
    assert backbone.is_init and not backbone.own_init


def test_what_takes_the_maps_fits_them(source, tmp_path):
    export(source, "mmdet", tmp_path / "run-0.py")
    config = load_config(tmp_path, "run-0")
    assert config["custom_imports"] == {"imports": ["run-0"], "allow_failed_imports": False}
    assert config["model"]["backbone"]["type"] == "run_0"
    assert config["model"]["neck"] == {"in_channels": [16, 32, 64, 128]}
    assert config["model"]["data_preprocessor"]["mean"] == [123.675, 116.28, 103.53]
    export(source, "mmseg", tmp_path / "seg.py")
    model = load_config(tmp_path, "seg")["model"]
    assert model["decode_head"] == {"in_channels": [16, 32, 64, 128]}
    assert model["auxiliary_head"] == {"in_channels": 64}


def test_stages_can_be_frozen_and_left_out(source, registry, tmp_path):
    export(source, "mmdet", tmp_path / "net.py")
    backbone = build_backbone(registry, tmp_path, out_indices=(1, 3), frozen_stages=0)
    backbone.train()
    assert [y.shape[1] for y in backbone(torch.randn(2, 3, 32, 32))] == [32, 128]
    trained = {name.split(".")[1] for name, p in backbone.named_parameters() if p.requires_grad}
    assert trained == {"1", "2", "3"}
    assert not backbone.stages[0].training and backbone.stages[1].training
    calm = build_backbone(registry, tmp_path, norm_eval=True)
    norms = [m for m in calm.modules() if isinstance(m, nn.BatchNorm2d)]
    assert calm.training and not any(norm.training for norm in norms)


def test_weights_of_another_network_are_refused(source, registry, tmp_path):
    export(source, "mmdet", tmp_path / "net.py")
    other = build(MICRO.model_copy(update={"layer_scale": 0.1}))
    write_tensors(tmp_path / "other.safetensors", other.state_dict(), {})
    pretrained = {"type": "Pretrained", "checkpoint": str(tmp_path / "other.safetensors")}
    with pytest.raises(RuntimeError, match=r"Unexpected key.*gamma"):
        build_backbone(registry, tmp_path, init_cfg=pretrained)
    assert build_backbone(registry, tmp_path, init_cfg=None).own_init


@formats
def test_it_passes_the_linter_and_the_formatter(format_name, source, tmp_path):
    export(source, format_name, tmp_path / "net.py")
    for words in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *words, "--config", ROOT / "pyproject.toml", "."],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
