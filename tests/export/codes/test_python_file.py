"""One file in plain torch: it runs without smt-nas, and a person could have written it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from smt_nas.arch import PRESETS, SMALL_PRESETS, Architecture, Stage
from smt_nas.errors import ExportError
from smt_nas.export import ExportSource, export
from smt_nas.export.source import WeightSource
from smt_nas.models import build

ROOT = Path(__file__).resolve().parents[3]
MICRO = SMALL_PRESETS["smt_micro"]
ONLY_MSA = [s.model_copy(update={"attention_ratio": 1.0, "head_dim": 8}) for s in MICRO.stages]
UNUSUAL = Architecture(
    image_size=40,
    num_classes=3,
    in_channels=1,
    layer_scale=1e-2,
    stem=MICRO.stem.model_copy(update={"kernel": 7}),
    stages=(
        Stage(dim=8, depth=1, kernels=(1, 11), expand_ratio=1),
        Stage(dim=12, depth=5, attention_ratio=0.4, stacking="tail", head_dim=4, kernels=(3, 5, 9)),
        Stage(dim=16, depth=3, attention_ratio=0.34, head_dim=16, ffn_kernel=5),
        Stage(dim=16, depth=60, attention_ratio=0.33, head_dim=2, mlp_ratio=0.5),
    ),
)
NETWORKS = {
    "micro": MICRO,
    "sam alone": Architecture.model_validate(
        MICRO.model_dump()
        | {"stages": [s.model_dump() | {"attention_ratio": 0.0} for s in MICRO.stages]}
    ),
    "msa alone": Architecture.model_validate(MICRO.model_dump() | {"stages": ONLY_MSA}),
    "unusual": UNUSUAL,
    "smt_t": PRESETS["smt_t"].model_copy(update={"image_size": 64}),
}


@pytest.fixture(scope="module", params=NETWORKS)
def written(request, tmp_path_factory):
    """A network, and the folder that it was written into."""
    arch = NETWORKS[request.param]
    model = build(arch, generator=torch.Generator().manual_seed(2)).eval()
    folder = tmp_path_factory.mktemp("python")
    manifest = export(ExportSource("net", arch, model.state_dict()), "python", folder / "net.py")
    assert all(check.largest_difference <= 1e-6 for check in manifest.checks)
    return arch, model, folder


def test_it_holds_the_classes_that_the_network_needs(written):
    arch, _, folder = written
    tree = ast.parse((folder / "net.py").read_text())
    classes = {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    mixers = {mixer.upper() for stage in arch.stages for mixer in stage.mixers}
    assert classes & {"SAM", "MSA"} == mixers
    assert ("LayerScale" in classes) == (arch.layer_scale is not None)
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [a.name for a in node.names]
            if isinstance(node, ast.Import)
            else [node.module]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported - sys.stdlib_module_names == {"torch", "safetensors"}


def test_it_passes_the_linter_and_the_formatter(written):
    *_, folder = written
    for words in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *words, "--config", ROOT / "pyproject.toml", "net.py"],
            cwd=folder,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_it_trains_as_the_network_does(written):
    arch, model, folder = written
    namespace = {"__file__": str(folder / "net.py"), "__name__": "net"}
    exec(compile((folder / "net.py").read_text(), "net.py", "exec"), namespace)
    torch.manual_seed(0)
    fresh = namespace["build"]()
    assert fresh.training and list(fresh.state_dict()) == list(model.state_dict())
    fresh.load_state_dict(model.state_dict())
    images = torch.randn(4, arch.in_channels, 40, 40)
    outputs = []
    for network in (fresh, model.train()):
        torch.manual_seed(1)
        outputs.append(network(images))
    model.eval()
    torch.testing.assert_close(*outputs, atol=1e-6, rtol=1e-6)
    maps = fresh.eval().forward_features(images)
    assert [y.shape[1] for y in maps] == [stage.dim for stage in arch.stages]


def test_fresh_weights_are_drawn_as_ours(written):
    arch, _, folder = written
    namespace = {"__file__": str(folder / "net.py"), "__name__": "net"}
    exec(compile((folder / "net.py").read_text(), "net.py", "exec"), namespace)
    torch.manual_seed(0)
    theirs, ours = namespace["build"]().state_dict(), build(arch).state_dict()
    for name, tensor in ours.items():
        if tensor.numel() > 2000:
            assert float(theirs[name].std()) == pytest.approx(float(tensor.std()), rel=0.1), name
        if name.endswith((".bias", "norm.weight", "gamma")):
            assert torch.equal(theirs[name], tensor), name


def test_it_runs_alone(tmp_path):
    """In Python's isolated mode, from a folder of its own, with weights of torch.save too."""
    model = build(MICRO, generator=torch.Generator().manual_seed(2)).eval()
    export(ExportSource("net", MICRO, model.state_dict()), "python", tmp_path / "net.py")
    torch.save(model.state_dict(), tmp_path / "w.pth")
    images = torch.randn(2, 3, 32, 48)
    torch.save({"images": images, "logits": model(images).detach()}, tmp_path / "io.pt")
    code = (
        "import runpy, sys, torch\n"
        "module = runpy.run_path('net.py')\n"
        "io = torch.load('io.pt', weights_only=True)\n"
        "for path in (None, 'w.pth'):\n"
        "    with torch.inference_mode():\n"
        "        out = module['load'](path)(io['images'])\n"
        "    torch.testing.assert_close(out, io['logits'], atol=1e-6, rtol=1e-6)\n"
        "print(sorted({'smt_nas', 'timm', 'torchvision'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_a_name_of_weights_does_not_end_the_docstring(tmp_path):
    weights = WeightSource(file=Path('a"""\\b'))
    export(
        ExportSource("net", MICRO, build(MICRO).state_dict(), weights), "python", tmp_path / "n.py"
    )
    assert "Weights: a'''/b." in ast.get_docstring(ast.parse((tmp_path / "n.py").read_text()))


def test_a_gene_that_the_plain_network_lacks_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr("smt_nas.export.codes.code_text._KNOWN", frozenset())
    with pytest.raises(ExportError, match=r"has no ffn_kernel \(got 5\). Use --format timm"):
        export(ExportSource("net", UNUSUAL), "python", tmp_path / "net.py")
    assert list(tmp_path.iterdir()) == []
