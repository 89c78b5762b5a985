"""A folder for transformers: loaded as users do, without a network, and what its card says."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from smt_nas.arch import SMALL_PRESETS
from smt_nas.export import ExportSource, export
from smt_nas.export.codes.model_card import write_model_card
from smt_nas.export.source import WeightSource
from smt_nas.models import build
from smt_nas.train.recipe import EvalTransform
from tests.fakes.weights import card

ROOT = Path(__file__).resolve().parents[3]
MICRO = SMALL_PRESETS["smt_micro"].model_copy(update={"num_classes": 3})


def needs_transformers():
    pytest.importorskip("transformers", reason="pip install 'smt-nas[hf]'", exc_type=ImportError)


def make_source(arch=MICRO, seed=2, **fields):
    model = build(arch, generator=torch.Generator().manual_seed(seed))
    return ExportSource("net", arch, model.state_dict(), **fields)


def trained_source(**changes):
    said = card(arch=MICRO, classes=("cat", "dog", "été"), **changes)
    return make_source(
        weights=WeightSource(Path("best.safetensors"), said),
        transform=said.evaluation,
        mean=said.mean,
        std=said.std,
        classes=said.classes,
    )


def run_offline(code, folder):
    """Run code in a process of its own, with no cache and no network."""
    environment = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(folder / "home"),
        "HF_MODULES_CACHE": str(folder / "modules"),
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)]),
    }
    start = "from smt_nas.runtime.torchvision_ops import import_torchvision; import_torchvision()\n"
    done = subprocess.run(
        [sys.executable, "-c", start + code],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_it_is_loaded_as_users_do_without_a_network(tmp_path):
    needs_transformers()
    source = trained_source()
    export(source, "hf", tmp_path / "a" / "net")
    other = make_source(arch=MICRO.model_copy(update={"layer_scale": 0.5}), seed=3)
    export(other, "hf", tmp_path / "b" / "net")  # of the same name
    images = torch.randn(2, 3, 48, 40)
    expected = [s.model(images) for s in (source, other)]
    torch.save({"images": images, "logits": expected}, tmp_path / "io.pt")
    code = (
        "import torch\n"
        "from PIL import Image\n"
        "from transformers import AutoModelForImageClassification, pipeline\n"
        "io = torch.load('io.pt', weights_only=True)\n"
        "for folder, logits in zip(('a/net', 'b/net'), io['logits']):\n"
        "    model = AutoModelForImageClassification.from_pretrained(\n"
        "        folder, trust_remote_code=True)\n"
        "    out = model(io['images'], labels=torch.tensor([0, 2]), output_hidden_states=True)\n"
        "    torch.testing.assert_close(out.logits, logits, atol=1e-6, rtol=1e-6)\n"
        "    assert out.loss.requires_grad and len(out.hidden_states) == 4\n"
        "    print(model.config.id2label[2], model.training)\n"
        "classify = pipeline('image-classification', 'a/net', trust_remote_code=True)\n"
        "print(sorted(row['label'] for row in classify(Image.new('RGB', (50, 60)))))\n"
        "model.save_pretrained('c')\n"
        "again = AutoModelForImageClassification.from_pretrained('c', trust_remote_code=True)\n"
        "torch.testing.assert_close(again(io['images']).logits, io['logits'][1])\n"
    )
    lines = run_offline(code, tmp_path)
    assert lines == ["été False", "LABEL_2 False", "['cat', 'dog', 'été']"]


def test_it_is_trained_on_for_other_classes(tmp_path):
    needs_transformers()
    source = make_source(arch=MICRO.model_copy(update={"layer_scale": 0.5}))
    export(source, "hf", tmp_path / "net")
    torch.save(dict(source.model.state_dict()), tmp_path / "state.pt")
    code = (
        "import torch\n"
        "from transformers import AutoConfig, AutoModelForImageClassification as Auto\n"
        "own = torch.load('state.pt', weights_only=True)\n"
        "model = Auto.from_pretrained('net', trust_remote_code=True, num_labels=200,\n"
        "    ignore_mismatched_sizes=True)\n"
        "state = model.state_dict()\n"
        "print([k for k in own if not torch.equal(own[k], state[k])])\n"
        "print(round(float(model.head.weight.std()), 3), float(model.head.bias.abs().max()))\n"
        "config = AutoConfig.from_pretrained('net', trust_remote_code=True)\n"
        "fresh = Auto.from_config(config, trust_remote_code=True).state_dict()\n"
        "print({float(v.unique()) for k, v in fresh.items() if k.endswith('gamma')},\n"
        "    {float(v.unique()) for k, v in fresh.items() if k.endswith('norm.weight')},\n"
        "    all(bool(v.isfinite().all()) for v in fresh.values()))\n"
    )
    lines = run_offline(code, tmp_path)
    assert lines == ["['head.weight', 'head.bias']", "0.02 0.0", "{0.5} {1.0} True"]


@pytest.mark.parametrize(
    "transform",
    [
        EvalTransform(crop_pct=0.9, interpolation="bilinear"),
        EvalTransform(crop_pct=0.7, interpolation="nearest"),
        EvalTransform(crop_pct=1.0),
        EvalTransform(resize="direct"),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_prepared_as_in_the_training(transform, channels, tmp_path):
    needs_transformers()
    arch = MICRO.model_copy(update={"in_channels": channels})
    source = make_source(
        arch, transform=transform, mean=(0.5, 0.4, 0.3)[:channels], std=(0.2, 0.3, 0.4)[:channels]
    )
    manifest = export(source, "hf", tmp_path / "net")
    assert manifest.figures["image_processor_difference"] <= 1e-6


def test_other_channels_have_no_image_processor(tmp_path):
    needs_transformers()
    manifest = export(
        make_source(MICRO.model_copy(update={"in_channels": 5})), "hf", tmp_path / "net"
    )
    assert not (tmp_path / "net" / "preprocessor_config.json").exists()
    assert "There is no image processor for 5 channels." in manifest.notes


def test_the_code_passes_the_linter_and_leaves_the_cache_alone(tmp_path, monkeypatch):
    needs_transformers()
    before = set(sys.modules), list(sys.path)
    export(make_source(), "hf", tmp_path / "net")
    assert sys.path == before[1]
    assert not [m for m in set(sys.modules) - before[0] if m.startswith("transformers_modules")]
    for words in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *words, "--config", ROOT / "pyproject.toml", "."],
            cwd=tmp_path / "net",
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    config = json.loads((tmp_path / "net" / "config.json").read_text())
    assert config["num_labels"] == 3 and "id2label" not in config


def test_the_model_card_says_what_was_measured_and_no_more():
    text = write_model_card(trained_source(), "net")
    assert "measured on 10 % of the training images, held out by seed 0: top1 50" in text
    assert "data: digits; recipe: small; seed: 0" in text and "1 epoch (7 updates)" in text
    assert "inf" not in text.split("## Weights")[1].split("## Not known")[0]
    assert "not measured" not in text


def test_the_model_card_of_weights_that_say_nothing():
    fresh = write_model_card(ExportSource("net", MICRO), "net")
    assert "**not trained**" in fresh and "Its accuracy was not measured." in fresh
    official = write_model_card(
        make_source(weights=WeightSource(Path("smt_tiny.pth"), official=True)), "net"
    )
    assert "`smt_tiny.pth`, of the published code; not evaluated by smt-nas." in official
    unsaid = write_model_card(make_source(weights=WeightSource(Path("w.pth"))), "net")
    assert "`w.pth`, which say nothing of their training." in unsaid
    assert "usual for ImageNet" in unsaid
    larger = trained_source()
    resized = write_model_card(larger.resized(64), "net")
    assert "Its accuracy at 64 px was not measured." in resized
