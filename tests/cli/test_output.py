"""What commands write, where: results on stdout, talk on stderr, whole figures at 80 columns."""

import ast
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Group
from rich.table import Table
from typer.testing import CliRunner

from smt_nas.arch import PRESETS
from smt_nas.cli import console, talk
from smt_nas.cli.app import app
from smt_nas.cli.training import training_talk
from smt_nas.metrics import METRICS
from smt_nas.report.profile.costs import cost_rows, costs_table
from smt_nas.report.search.front import front_table
from smt_nas.search import resume_search
from tests.fakes.screening import short_screening  # noqa: F401
from tests.fakes.terminal import invoke, printed

pytestmark = pytest.mark.usefixtures("short_screening")


ROOT = Path(__file__).resolve().parents[2]
SEARCH = ["search", "--space", "smt_micro", "--no-verify", "--workers", "1"]
SEARCH += ["--device", "epyc_zen3_2cpu"]  # it has a measured table: no network is traced


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "run"
    invoke(*SEARCH, "--n", 5, "--budget", "20MMACs", "--out", path)
    return path


def check(document):
    assert document["schema"] == 2
    assert document["front"] and [b["name"] for b in document["baselines"]] == list(PRESETS)
    for entry in (*document["front"], *document["baselines"]):
        assert {"key", "architecture", "values", "provenance"} <= set(entry)
        assert set(entry["values"]) == set(entry["provenance"]) <= set(METRICS)
        assert all(isinstance(v, int | float) for v in entry["values"].values())
        assert entry["provenance"]["macs"] == "exact"
        assert entry["provenance"]["score"] == "predicted"  # no top-1: it is of other images
        assert entry["provenance"]["latency_ms"] == "predicted"
        for name in ("latency_ms", "score"):
            ends = entry["intervals"][name]
            assert ends["low"] < entry["values"][name] < ends["high"]
        assert entry["measured"] == {}  # not verified


def test_json_alone_is_on_stdout(run, tmp_path):
    searched = invoke(*SEARCH, "--n", 5, "--budget", "20MMACs", "--out", tmp_path / "r", "--json")
    assert "Space smt_micro" in searched.stderr
    documents = [json.loads(searched.stdout)]
    documents += [json.loads(invoke(c, run, "--json").stdout) for c in ("front", "resume")]
    for document in documents:
        check(document)
        assert document["front"] == documents[0]["front"]
    assert all(m["values"]["macs"] <= 20e6 for m in documents[0]["front"])


def test_tables_in_a_pipe_have_no_trailing_spaces(run):
    for words in (["front", run], ["spaces"], ["spaces", "show", "smt"]):
        lines = invoke(*words).stdout.splitlines()
        assert len(lines) > 2
        assert [line for line in lines if line != line.rstrip() or "…" in line] == []


@pytest.mark.parametrize("by", ["stage", "block"])
@pytest.mark.parametrize("name", PRESETS)
def test_costs_fit_80_columns(name, by):
    arch = PRESETS[name]
    text = printed(costs_table(name, arch, cost_rows(arch, by)))
    table, _, note = text.partition("peak MB: ")
    assert len(table.splitlines()) == 1 + 3 + len(cost_rows(arch, by)) + 2 and note


def test_a_front_fits_80_columns(run):
    outcome = resume_search(run, read_only=True).outcome()
    text = printed(front_table(outcome, True))
    assert len(text.splitlines()) == 1 + 4 + len(outcome.front) + 1 + len(PRESETS)


def test_a_front_is_cut_on_no_terminal(run, monkeypatch):
    outcome = resume_search(run, read_only=True).outcome()
    plain = printed(front_table(outcome, True))
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("FORCE_COLOR", "1")  # what rich takes for a terminal
    assert "…" not in plain and printed(front_table(outcome, True)) == plain


def command(words, **more):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "smt_nas", *map(str, words)],
        stderr=subprocess.PIPE,
        text=True,
        env=env,
        **more,
    )


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_a_closed_pipe_is_silent(run, flags):
    read, write = os.pipe()
    os.close(read)
    done = command(["front", run, *flags], stdout=write)
    os.close(write)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_a_full_disk_behind_stdout(run, flags):
    with open("/dev/full", "w") as full:
        done = command(["front", run, *flags], stdout=full)
    assert (done.returncode, done.stderr) == (1, "error: output: No space left on device.\n")


def test_export_to_where_nothing_can_be_written(tmp_path):
    for out, rule in (
        (tmp_path / "missing" / "x.yaml", "must be in a folder that is there"),
        (tmp_path, "cannot be written"),
    ):
        result = CliRunner().invoke(app, ["export", "smt_t", "--out", str(out)])
        assert result.exit_code == 1
        assert rule in result.stderr


def test_notes_end_between_words_on_a_terminal_but_commands_do_not(monkeypatch, capsys):
    notes = ["  some words that are longer than that", "Next: smt-nas front runs/a-long-name --all"]
    console.show_notes(notes)
    assert capsys.readouterr().out.splitlines() == notes  # a pipe has no width
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "20")
    console.show_notes(notes)
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["  some words that", "  are longer than", "  that", notes[1]]


MARKUP = ["[unknown]", "[red]", "[/red]", "[bold]x[/bold]", "a\\[b]", ":fire:", "[link=x]y"]
"""What a library takes for its own markup: names that folders and classes have all the same."""


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("name", MARKUP)
def test_names_are_printed_as_they_are(name, terminal, capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    table = Table(title=name, caption=f"runs/{name}")
    table.add_column(f"h{name}")
    table.add_row(name)
    console.show(Group(name, table))
    console.say(f"say {name}")
    console.complain(f"complain {name}")
    with talk.talk() as listener, training_talk.training() as training:
        listener.say(f"talk {name}")
        training.say(f"training {name}")
    told = capsys.readouterr()
    assert told.out.count(name) == 5
    assert [line for line in told.err.splitlines() if line] == [
        f"say {name}",
        f"error: complain {name}",
        f"talk {name}",
        f"training {name}",
    ]


def test_nothing_that_prints_reads_markup():
    calls = [
        (path.name, ast.unparse(node))
        for path in (ROOT / "smt_nas").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).rpartition(".")[2] in ("Console", "TextColumn")
    ]
    assert calls and [call for call in calls if "markup=False" not in call[1]] == []


@pytest.mark.parametrize("name", ["[/red]", "a[/b] [red]"])
def test_paths_with_brackets_are_named_in_errors(name, tmp_path):
    for words in (["front", tmp_path / name], ["profile", f"{name}.yaml"]):
        assert name in invoke(*words, code=1).stderr
