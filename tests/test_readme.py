"""The README's commands, Python blocks and space do what README says."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from smt_nas import SearchSpace

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
SET_UP = ("python3 -m venv", ".venv/bin/")  # what `make` does too, and CI with it
# the one command that takes minutes runs on the small space instead
CHEAPER = {
    "smt-nas search --budget 2.4GFLOPs --seed 0": (
        "smt-nas search --budget 10MMACs --seed 0 --space smt_micro --n 8"
    )
}


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def commands():
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith(SET_UP)]


def test_every_shell_line_is_a_command_of_ours():
    assert len(commands()) >= 9
    assert all(line.startswith("smt-nas ") for line in commands())
    assert set(CHEAPER) <= set(commands())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("readme")


@pytest.mark.slow
def test_commands_run_in_order(folder):
    for line in commands():
        words = shlex.split(CHEAPER.get(line, line))[1:]
        command = [sys.executable, "-W", "error", "-m", "smt_nas", *words]
        env = {"PYTHONPATH": str(ROOT), "PATH": ""}
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=env)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
        assert done.stdout, line
    assert (folder / "runs/demo/front/0.yaml").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("code", blocks("python"))
def test_python_blocks_run(code, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out


def test_the_space_of_the_readme_loads(tmp_path):
    (text,) = blocks("yaml")
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    assert SearchSpace.load(path).size > 1000


def test_commands_of_the_table_exist():
    rows = re.findall(r"^\| `smt-nas (\w+)", TEXT, re.MULTILINE)
    help_text = subprocess.run(
        [sys.executable, "-m", "smt_nas", "--help"], capture_output=True, text=True, cwd=ROOT
    ).stdout
    assert len(rows) == 6
    for name in rows:
        assert name in help_text
