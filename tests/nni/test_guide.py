"""What docs/nni.md shows runs as it stands there."""

import re
import shlex
from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.testing import CliRunner

from smt_nas.arch import load_arch
from smt_nas.cli.app import app
from tests.fakes import screening

CHEAPER = "--device epyc_zen3_2cpu"  # this machine's own is probed first
TEXT = (Path(__file__).resolve().parents[2] / "docs" / "nni.md").read_text(encoding="utf-8")


@pytest.mark.skipif(find_spec("nni") is None, reason="nni is not installed: smt-nas[nni]")
def test_the_code_of_the_guide_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    [code] = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    exec(compile(code, "docs/nni.md", "exec"), {})
    assert load_arch(tmp_path / "best.yaml").key in capsys.readouterr().out


@pytest.mark.skipif(find_spec("nni") is None, reason="nni is not installed: smt-nas[nni]")
def test_the_commands_of_the_guide_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    screening.shorten(monkeypatch)
    blocks = re.findall(r"^```sh\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    for command in "".join(blocks).splitlines():
        cheaper = command.replace("smt-nas search", f"smt-nas search {CHEAPER}")
        done = CliRunner().invoke(app, shlex.split(cheaper)[1:])
        assert done.exit_code == 0, f"{command}\n{done.output}"
    assert (tmp_path / "nni-experiment" / "config.yml").is_file()
