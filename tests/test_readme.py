"""The README's commands, Python blocks and space do what README says."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from smt_nas import SearchSpace
from tests.fakes.recipes import quick
from tests.fakes.screening import short_screening  # noqa: F401

pytestmark = pytest.mark.usefixtures("short_screening")


ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SET_UP = ("python3 -m venv", ".venv/bin/")  # what `make` does too, and CI with it
# The rule: measurements are short; searches run in the smallest space, with few networks and
# without the proof of the front (it counts and times the four presets too, a minute on a busy
# machine; tests/search holds it).
CHEAPER = {
    "smt-nas search --budget 2.4GFLOPs --seed 0": (
        "smt-nas search --budget 10MMACs --seed 0 --space smt_micro --n 4 --no-verify "
        "--device epyc_zen3_2cpu"
    ),
    "smt-nas search --budget 20MMACs --space smt_micro --strategy random --n 16 --out runs/demo": (
        "smt-nas search --budget 20MMACs --space smt_micro --strategy random --n 4 --no-verify "
        "--out runs/demo"
    ),
    "smt-nas resume runs/demo --n 20": "smt-nas resume runs/demo --n 6",
    "smt-nas profile smt_t --by block": (
        "smt-nas profile smt_micro --by block --threads 1 --seconds 0.1"
    ),
    "smt-nas profile smt_t smt_s timm:swin_tiny_patch4_window7_224 --batch 1,8": (
        "smt-nas profile smt_micro timm:resnet18 --batch 1 --threads 1 --seconds 0.1"
    ),
    "smt-nas profile smt_t --by op --html profile.html": (
        "smt-nas profile smt_micro --by op --html profile.html --threads 1 --seconds 0.1"
    ),
    "smt-nas train smt_micro --data digits": "smt-nas train smt_micro --data digits --epochs 1",
    "smt-nas train --top 2 runs/demo --data digits": (
        "smt-nas train --top 2 runs/demo --data digits --epochs 1 --recipe quick.yaml"
    ),
    "smt-nas validate predictor capacity joint --on smt-bench-mini": (
        "smt-nas validate capacity --on smt-bench-mini"
    ),
    "smt-nas validate zero-cost --plot zero-cost.html": (
        "smt-nas validate capacity --plot zero-cost.html"
    ),
    "smt-nas search --space smt_micro --data digits --evaluator short-train --n 12": (
        "smt-nas search --space smt_micro --data digits --evaluator short-train --n 2 --epochs 1 "
        "--no-verify --recipe quick.yaml"
    ),
    "smt-nas search --budget 2.4GFLOPs --seed 0 --out runs/a1": (
        "smt-nas search --budget 10MMACs --seed 0 --space smt_micro --n 2 --no-verify "
        "--device epyc_zen3_2cpu --out runs/a1"
    ),
    "smt-nas profile runs/a1/front/0.yaml net.onnx --threads 1": (
        "smt-nas profile runs/a1/front/0.yaml net.onnx --threads 1 --seconds 0.1"
    ),
    "smt-nas calibrate --device cpu --space smt_micro --minutes 10": (
        "smt-nas calibrate --device cpu --space smt_micro --minutes 0.02"
    ),
}
TRAINED = "runs/train-"  # in code that uses what the commands trained
TARGETS = ("search", "test")


def blocks(language):
    return [body for kind, body in BLOCK.findall(TEXT) if kind == language]


def commands():
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith(SET_UP)]


def named_in_text():
    """Commands in tables and sentences: `smt-nas ...` between backticks."""
    found = re.findall(r"`(smt-nas [^`]+)`", BLOCK.sub("", TEXT))
    return [line for line in dict.fromkeys(found) if "..." not in line]


def made():
    """What `make ...` of the text or the opening would run of ours."""
    return re.findall(r"(?:`|^ {4})(make [^`#\n]*)", BLOCK.sub("", TEXT), re.MULTILINE)


def run(command, cwd):
    ours = ("PYTHONWARN", "MAKE", "ARGS", "BUDGET", "SEED", "WORKERS")  # of `make test`, perhaps
    env = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
    env |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=env)


def assert_parses(line):
    """The command, its arguments and its options exist. Nothing is run."""
    import typer

    import smt_nas.cli  # noqa: F401  # it registers the commands
    from smt_nas.cli.app import app

    command, words = typer.main.get_command(app), shlex.split(line)[1:]
    if words[0].startswith("-"):
        words = [*words, "spaces"]
    with command.make_context("smt-nas", words) as context:
        rest = [*context._protected_args, *context.args]
        name, chosen, arguments = command.resolve_command(context, rest)
        with chosen.make_context(name, list(arguments), parent=context):
            pass


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("readme")
    (made / "quick.yaml").write_text(quick(images=100))
    return made


def test_readme_opens_with_the_two_commands():
    opening = TEXT.split("```")[0]
    assert [line.split()[1] for line in made()][: len(TARGETS)] == list(TARGETS)
    assert all(f"    make {target} " in opening for target in TARGETS)


def test_every_shell_line_is_a_command_of_ours():
    assert len(commands()) >= 9
    assert all(line.startswith("smt-nas ") for line in commands())
    assert set(CHEAPER) <= set(commands())
    others = "\n".join(body for kind, body in BLOCK.findall(TEXT) if kind != "sh")
    loose = re.findall(r"^ {4,}smt-nas .*|^\$ .*", BLOCK.sub("", TEXT), re.MULTILINE)
    assert not loose + re.findall(r"^\s*(?:\$ )?smt-nas .*", others, re.MULTILINE)


@pytest.mark.slow
def test_commands_run_in_order(folder, monkeypatch):
    """In this process: starting torch ten times costs more than the commands."""
    import typer.testing

    import smt_nas.cli  # noqa: F401  # it registers the commands
    from smt_nas.cli.app import app

    monkeypatch.chdir(folder)
    pytest.importorskip("onnxruntime", reason="commands export: pip install 'smt-nas[onnx]'")
    for line in commands():
        words = shlex.split(CHEAPER.get(line, line))[1:]
        done = typer.testing.CliRunner().invoke(app, words)
        assert done.exit_code == 0, f"{line}\n{done.output}\n{done.exception!r}"
        assert done.output, line
    assert (folder / "runs/demo/front/0.yaml").is_file()
    for code in (code for code in blocks("python") if TRAINED in code):
        assert_code_runs(code, folder)


@pytest.mark.parametrize("line", named_in_text())
def test_commands_named_in_the_text_exist(line):
    assert_parses(line)


def test_every_command_is_in_the_table():
    import typer

    from smt_nas.cli.app import app

    rows = re.findall(r"^\| `smt-nas ([\w-]+)", TEXT, re.MULTILINE)
    assert sorted(rows) == sorted(typer.main.get_command(app).commands)


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize("line", sorted(set(made())))
def test_make_lines_run_ours(line):
    done = run([*shlex.split(line), "--dry-run"], ROOT)
    assert done.returncode == 0, done.stderr
    searches = [x for x in done.stdout.splitlines() if "smt-nas search" in x]
    ours = {"search": "smt-nas search", "test": "-m pytest", "data": "fashion-mnist"}
    assert any(ours[word] in done.stdout for word in line.split() if word in ours)
    for search in searches:
        assert_parses(search)


@pytest.mark.slow
@pytest.mark.parametrize("code", [code for code in blocks("python") if TRAINED not in code])
def test_python_blocks_run(code, folder):
    assert_code_runs(code, folder)


def assert_code_runs(code, folder):
    done = run([sys.executable, "-W", "error", "-c", code], folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_the_space_of_the_readme_loads(tmp_path):
    (text,) = blocks("yaml")
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    assert SearchSpace.load(path).size > 1000
