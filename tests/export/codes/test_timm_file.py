"""A file that registers a network with timm: its name, its weights, its images."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from smt_nas.arch import SMALL_PRESETS
from smt_nas.export import ExportSource, export
from smt_nas.models import build
from smt_nas.timm import timm
from smt_nas.train.recipe import EvalTransform

ROOT = Path(__file__).resolve().parents[3]
MICRO = SMALL_PRESETS["smt_micro"].model_copy(update={"num_classes": 3})


@pytest.fixture(scope="module")
def source():
    model = build(MICRO, generator=torch.Generator().manual_seed(2))
    return ExportSource(
        "run-0",
        MICRO,
        model.state_dict(),
        transform=EvalTransform(crop_pct=0.9, interpolation="bilinear"),
        mean=(0.5, 0.4, 0.3),
        std=(0.25,) * 3,
        classes=("cat", "dog\n", 'a "bird"'),
    )


def test_the_model_has_its_weights_and_says_its_images(source, tmp_path):
    export(source, "timm", tmp_path / "run-0.py")
    assert runpy.run_path(str(tmp_path / "run-0.py"))["NAME"] == "run_0"
    model = timm.create_model("run_0", pretrained=True).eval()
    images = torch.randn(2, 3, 40, 32)
    with torch.inference_mode():
        assert torch.equal(model(images), source.model(images))
    data = timm.data.resolve_data_config({}, model=model)
    assert (data["mean"], data["crop_pct"], data["crop_mode"]) == ((0.5, 0.4, 0.3), 0.9, "center")
    assert (data["input_size"], data["interpolation"]) == ((3, 32, 32), "bilinear")
    assert model.pretrained_cfg["label_names"] == source.classes
    features = timm.create_model("run_0", pretrained=True, features_only=True)
    assert features.feature_info.channels() == [16, 32, 64, 128]


@pytest.mark.parametrize(
    ("file", "name"), [("resnet18", "smt_resnet18"), ("0", "smt_0"), ("smt_t", "smt_t_net")]
)
def test_names_that_timm_does_not_take(source, tmp_path, file, name):
    export(source, "timm", tmp_path / f"{file}.py")
    assert f'NAME = "{name}"' in (tmp_path / f"{file}.py").read_text()


def test_a_network_that_squashes_images_says_so(tmp_path):
    source = ExportSource("sq", MICRO, transform=EvalTransform(resize="direct"))
    export(source, "timm", tmp_path / "sq.py")
    text = (tmp_path / "sq.py").read_text()
    assert 'crop_mode="squash"' in text and "crop_pct=1.0" in text


def test_it_passes_the_linter_and_the_formatter(source, tmp_path):
    export(source, "timm", tmp_path / "net.py")
    for words in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *words, "--config", ROOT / "pyproject.toml", "net.py"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
