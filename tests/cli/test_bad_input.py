"""Bad input: one clear line on stderr, exit 1 (2 for usage), no traceback, nothing written."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from smt_nas.cli.app import app
from smt_nas.search.storage import database

ROOT = Path(__file__).resolve().parents[2]
MICRO = ["--space", "smt_micro", "--no-verify", "--n", "4", "--objective", "macs"]


@pytest.fixture(autouse=True)
def servers_are_not_waited_for(monkeypatch):
    monkeypatch.setattr(database, "WAITS_S", ())


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()
    return lambda *words: runner.invoke(app, list(words))


def the_line(result):
    """The one line of error."""
    assert result.exit_code == 1, result.output
    lines = [x for x in result.stderr.splitlines() if x.startswith("error: ")]
    assert len(lines) == 1 and "Traceback" not in result.output
    assert result.stdout == ""
    return lines[0]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--budget", "0.1GFLOPs"], "The nearest that can be met: 195.2 MMACs"),
        (["--budget", "900GFLOPs..901GFLOPs"], "budget"),
        (["--budget", "90..91GFLOPs"], "The nearest that can be met: at least 36.63 GMACs"),
        (["--budget", "2.0..2.4GFLOPs", "--budget", "1Mparams"], "The nearest that can be met"),
        (
            [*MICRO, "--budget", "39..39.8MMACs", "--budget", "0.07Mparams"],
            "The nearest network has",
        ),
        (["--budget", "0GFLOPs"], "must be above 0"),
        (["--budget", "-1GFLOPs"], "must be above 0"),
        (["--budget", "nanGFLOPs"], "must be above 0"),
        (["--budget", "2.4GFLOP5"], "Did you mean 'GFLOPs'?"),
        (["--budget", "smt_x"], "Did you mean"),
        (["--budget", "5ms@a1000"], "Did you mean"),
        (["--budget", "5ms@nothing"], "Did you mean"),
        (["--budget", "5ms@a100:b0"], "the batch must be from 1"),
        (["--budget", "5ms@v100:bf16"], "cannot compute in bf16. It can: fp32"),
        ([*MICRO, "--budget", "1us@a100"], "The nearest that can be met"),
        ([*MICRO, "--budget", "1e9img/s@a100"], "The nearest that can be met: at least"),
        ([*MICRO, "--budget", "1us@a100", "--budget", "0.07Mparams"], "The nearest network has"),
        (["--device", "a1000"], "Did you mean"),
        (["--device", "a100:fp17"], "Did you mean 'fp16'?"),
        (["--objective", "latency", "--objective", "latency_ms"], "each one once"),
        (["--objective", "macs", "--objective", "macs"], "each one once"),
        (["--objective", "marcs"], "Did you mean 'macs'?"),
        (["--space", "smtt"], "Did you mean 'smt'?"),
        (["--space", "missing.yaml"], "cannot be read"),
        (["--space", "."], "No search space"),
        (["--space", "./"], "got a directory"),
        (["--strategy", "nsga3"], "Did you mean 'nsga2'?"),
        (["--evaluator", "zerocost"], "Did you mean 'zero-cost'?"),
        (["--n", "0"], "greater than or equal to 1"),
        (["--seed", "-1"], "greater than or equal to 0"),
        (["--storage", "nonsense"], "must be the URL of a database"),
        (["--storage", "postgresql://user:secret@localhost:1/db"], "user:***@"),
    ],
)
def test_search_refuses(run, tmp_path, words, expected):
    line = the_line(run("search", *words, "--out", "r"))
    assert expected in line and "secret" not in line
    assert not (tmp_path / "r/study.db").exists()


def test_usage_errors_exit_2(run):
    for words in (["search", "--budgets", "2GFLOPs"], ["serch"], ["search", "--n", "many"]):
        assert run(*words).exit_code == 2


@pytest.mark.parametrize("words", [["--no-prove"], ["--no-prove", "--no-verify"]])
def test_the_old_name_of_verify_still_works(run, tmp_path, words):
    micro = [word for word in MICRO if word != "--no-verify"]
    assert run("search", *micro, *words, "--out", "r").exit_code == 0
    assert "  verify: false\n" in (tmp_path / "r/run.yaml").read_text()


def test_verify_and_its_old_name_must_agree(run, tmp_path):
    result = run("search", *MICRO, "--prove", "--out", "r")
    assert result.exit_code == 2 and "says otherwise" in result.stderr
    assert not (tmp_path / "r").exists()


def test_a_run_directory_in_use(run, tmp_path):
    assert run("search", *MICRO, "--out", "r").exit_code == 0
    before = (tmp_path / "r/run.yaml").read_bytes()
    again = run("search", *MICRO, "--out", "r")
    assert again.exit_code == 0 and "r: holds this very search already. Going" in again.stderr
    line = the_line(run("search", *MICRO, "--seed", "3", "--out", "r"))
    assert "holds a search with seed 0 (got 3)" in line and "smt-nas resume r" in line
    assert (tmp_path / "r/run.yaml").read_bytes() == before


def test_a_folder_that_is_no_run(run, tmp_path):
    (tmp_path / "r").mkdir()
    assert "no run.yaml" in the_line(run("front", "r"))
    assert run("search", *MICRO, "--out", "r").exit_code == 0  # empty is fine
    (tmp_path / "s").mkdir()
    (tmp_path / "s/notes.txt").write_text("mine")
    assert "must be empty or new (got notes.txt)" in the_line(run("search", *MICRO, "--out", "s"))


def test_killed_before_the_study_was_there(run, tmp_path):
    assert run("search", *MICRO, "--out", "r").exit_code == 0
    (tmp_path / "r/study.db").unlink()
    assert "holds no trials yet" in the_line(run("front", "r"))
    assert run("resume", "r").exit_code == 0


def test_a_half_written_run_yaml(run, tmp_path):
    assert run("search", *MICRO, "--out", "r").exit_code == 0
    for content in ("", "schema: 1\n", "schema: 2\nsettings: {}\n", "\x00\x01"):
        (tmp_path / "r/run.yaml").write_text(content)
        assert "run.yaml" in the_line(run("resume", "r"))


def test_a_corrupt_study(run, tmp_path):
    assert run("search", *MICRO, "--out", "r").exit_code == 0
    (tmp_path / "r/study.db").write_bytes(b"garbage" * 1000)
    for verb in ("front", "resume"):
        assert "cannot be used" in the_line(run(verb, "r"))
    assert (tmp_path / "r/study.db").read_bytes().startswith(b"garbage")


def test_a_study_of_another_space(run, tmp_path):
    assert run("search", *MICRO, "--out", "r").exit_code == 0
    text = (tmp_path / "r/run.yaml").read_text()
    (tmp_path / "r/run.yaml").write_text(text.replace("num_classes: 10", "num_classes: 11"))
    assert "belongs to a search with space" in the_line(run("resume", "r"))


def test_a_full_disk_costs_nothing_that_was_stored(run, tmp_path, monkeypatch):
    assert run("search", *MICRO, "--out", "r").exit_code == 0
    from sqlalchemy.exc import OperationalError

    def full(*args, **kwargs):
        raise OperationalError("INSERT", {}, sqlite3.OperationalError("database or disk is full"))

    with monkeypatch.context() as patch:
        patch.setattr("smt_nas.search.storage.trial_insert.TrialInserter.add", full)
        assert "disk is full" in the_line(run("resume", "r", "--n", "8", "--workers", "1"))
    result = run("resume", "r", "--n", "8", "--workers", "1", "--json")
    assert result.exit_code == 0 and '"trials": 8' in result.stdout


def test_a_password_is_neither_stored_nor_shown(run, tmp_path):
    run("search", *MICRO, "--storage", "postgresql://me:secret@localhost:1/db", "--out", "r")
    kept = [p.read_text(errors="replace") for p in tmp_path.rglob("*") if p.is_file()]
    assert not any("secret" in text for text in kept)


def test_debug_shows_the_traceback(run):
    result = run("--debug", "search", "--budget", "0GFLOPs")
    assert result.exit_code == 1 and type(result.exception).__name__ == "ConfigError"


def test_help_and_searches_by_formula_load_no_torch(run, tmp_path):
    """What `--help` answers quickly for: neither torch nor what plans a search is imported."""
    assert run("search", *MICRO, "--out", "r").exit_code == 0
    lines = (["--help"], ["spaces"], ["front", "r"], ["search", *MICRO, "--out", "s"])
    code = (
        "import sys\nfrom smt_nas.cli import main\n"
        f"for words in {lines}:\n"
        "    sys.argv[1:] = words\n"
        "    try:\n        main()\n    except SystemExit as end:\n        assert not end.code\n"
        "    assert 'torch' not in sys.modules, words\n"
        "    if words == ['--help']:\n"
        "        slow = {'optuna', 'pandas', 'sklearn', 'smt_nas.nasbench'}\n"
        "        assert not slow & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
