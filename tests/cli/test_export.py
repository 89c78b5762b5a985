"""`smt-nas export`: text to standard output or a file, other formats into a folder."""

import dataclasses

import pytest
from typer.testing import CliRunner

from smt_nas.arch import PRESETS, load_arch
from smt_nas.cli.app import app
from smt_nas.export import EXPORTERS


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
