"""`smt-nas export`: text to standard output or a file, other formats into a folder."""

import dataclasses
import time

import pytest
from typer.testing import CliRunner

from smt_nas.arch import PRESETS, load_arch
from smt_nas.cli import talk
from smt_nas.cli.app import app
from smt_nas.export import EXPORTERS
from smt_nas.export.model_config import export_yaml


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(app, ["export", *words])


def test_text_goes_to_standard_output_or_into_a_file(run, tmp_path):
    shown = run("smt_t")
    assert shown.exit_code == 0, shown.output
    assert run("smt_t", "--out", "net.yaml").exit_code == 0
    assert (tmp_path / "net.yaml").read_text() == shown.stdout
    assert load_arch("net.yaml") == PRESETS["smt_t"]


def test_a_format_that_is_no_text_needs_a_folder(run, tmp_path, monkeypatch):
    binary = dataclasses.replace(EXPORTERS["yaml"], is_text=False, suffix="")
    monkeypatch.setitem(EXPORTERS, "binary", binary)
    refused = run("smt_t", "--format", "binary")
    assert refused.exit_code == 1 and "Add --out DIR" in refused.stderr
    assert run("smt_t", "--format", "binary", "--out", "made/here").exit_code == 0
    assert [p.name for p in (tmp_path / "made/here").iterdir()] == ["smt_t.yaml"]


def test_an_unknown_format_is_one_line(run):
    result = run("smt_t", "--format", "onxx")
    assert result.exit_code == 1 and "export format" in result.stderr


def test_what_takes_long_is_announced(run, monkeypatch):
    monkeypatch.setattr(talk, "PLAIN_FIRST_S", 0.0)

    def write(*words):
        time.sleep(0.2)  # the first line comes from another thread
        return export_yaml(*words)

    slow = dataclasses.replace(EXPORTERS["yaml"], export=write, is_text=False)
    monkeypatch.setitem(EXPORTERS, "slow", slow)
    result = run("smt_t", "--format", "slow", "--out", "net.yaml")
    first, second = result.stderr.splitlines()[:2]
    assert first == (
        "Exporting smt_t to net.yaml as slow: it is written, loaded back and compared."
    )
    assert second == "Wrote net.yaml."


def test_an_extra_that_is_absent_is_named_with_its_command(run, monkeypatch):
    entry = dataclasses.replace(EXPORTERS["onnx"], modules=("no_such_library",))
    monkeypatch.setitem(EXPORTERS, "onnx", entry)
    result = run("smt_micro", "--format", "onnx", "--out", "net.onnx")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].endswith("`pip install 'smt-nas[onnx]'` installs it.")
