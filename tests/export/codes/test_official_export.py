"""Config and weights for the published code: its names and shapes, or a refusal."""

import csv
from pathlib import Path

import pytest
import torch

from smt_nas.arch import PRESETS
from smt_nas.errors import ExportError
from smt_nas.export import ExportSource, export
from smt_nas.models import build
from smt_nas.train.weights.tensors import read_tensors
from tests.fakes.weights import TINY

TSV = Path(__file__).resolve().parents[2] / "data" / "smt_t_state_dict.tsv"


@pytest.fixture(scope="module")
def trained():
    arch = PRESETS["smt_t"]
    model = build(arch, generator=torch.Generator().manual_seed(3))
    return ExportSource("tiny", arch, model.state_dict())


def test_the_state_is_that_of_the_published_code(trained, tmp_path):
    manifest = export(trained, "official", tmp_path / "tiny.yaml")
    names = {path.name for path in manifest.files}
    assert names == {"tiny.yaml", "tiny.safetensors", "tiny.yaml.manifest.json"}
    state, _ = read_tensors(tmp_path / "tiny.safetensors")
    with TSV.open() as file:
        published = {r["key"]: r["shape"] for r in csv.DictReader(file, delimiter="\t")}
    shapes = {name: "x".join(map(str, tensor.shape)) for name, tensor in state.items()}
    assert {k: v or published[k] for k, v in shapes.items()} == published
    (check,) = manifest.checks
    assert check.largest_difference <= 1e-6 and check.inputs == (2, 3, 224, 224)
    assert "load_state_dict" in manifest.notes[0]


def test_without_weights_it_is_the_config_alone(tmp_path):
    manifest = export(ExportSource("tiny", PRESETS["smt_t"]), "official", tmp_path / "t.yaml")
    assert [path.name for path in manifest.files] == ["t.yaml"]


def test_a_network_that_it_cannot_express_is_refused_and_nothing_written(tmp_path):
    model = build(TINY, generator=torch.Generator().manual_seed(3))
    with pytest.raises(ExportError, match=r"cannot express this network.*in stage 2"):
        export(ExportSource("tiny", TINY, model.state_dict()), "official", tmp_path / "t.yaml")
    assert list(tmp_path.iterdir()) == []
