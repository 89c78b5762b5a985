"""`smt-nas calibrate`: goals beside what was seen; refusals in one line; killed, it goes on."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import filelock
import pytest
from typer.testing import CliRunner

from smt_nas.cli.app import app
from smt_nas.profilers.calibration import calibrate
from smt_nas.yaml import to_yaml
from tests.fakes.part_timer import SMALL, FakePartTimer
from tests.fakes.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory with a small space."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(to_yaml(SMALL.config.model_dump(mode="json")))
    return tmp_path


@pytest.fixture
def small(here, monkeypatch):
    """A folder with a small space, and a machine that is simulated."""
    monkeypatch.setattr(calibrate, "TorchPartTimer", lambda device: FakePartTimer())
    monkeypatch.setitem(calibrate.VISITS, "cpu", 6)
    return here


def invoke(*words):
    return CliRunner().invoke(app, ["calibrate", "--space", "small.yaml", *map(str, words)])


def test_goals_stand_beside_what_was_seen(small):
    result = invoke("--batch", "1,8")
    assert result.exit_code == 0, result.output
    text = result.stdout
    for told in ("MAPE", "<= 5 %", ">= 90 %", ">= 0.98", "b8 fp32 eager 1 thread", "all that was"):
        assert told in text
    (table,) = (small / "profiles").glob("*.small.csv")
    assert f"Written: profiles/{table.name}" in text
    assert max(map(len, text.splitlines())) <= 160


def test_json_is_one_document(small):
    result = invoke("--json", "--out", small / "here")
    document = json.loads(result.stdout)
    assert document["schema"] == 1 and document["space"] == "small"
    (goals,) = document["goals"]
    assert goals["conditions"] == "b1 fp32 eager 1 thread"
    assert {goals[name] for name in ("mape", "within_10", "spearman")} <= {True, False}
    assert Path(document["path"]).is_file()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--batch", "0"], "--batch: must be whole numbers"),
        (["--batch", "1,x"], "got 'x'"),
        (["--precision", "fp23"], "Did you mean"),
        (["--precision", "tf32"], "TF32"),
        (["--form", "compile"], "no parts that could be timed apart"),
        (["--form", "graph"], "needs a GPU"),
        (["--device", "cuda:0"], "cuda:0"),
        (["--device", "gpu7"], "must be one that is known"),
        (["--out", "small.yaml"], "small.yaml"),
        (["--out", "/proc/nowhere"], "/proc/nowhere"),
    ],
)
def test_refusals_are_one_line(small, words, told):
    result = invoke(*words)
    assert result.exit_code == 1 and told in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1 and "Traceback" not in result.output


def test_a_second_process_is_refused(small, monkeypatch):
    lock = filelock.FileLock

    def taken(path):
        held = lock(path)
        monkeypatch.setattr(held, "acquire", taken_already)
        return held

    def taken_already(timeout):
        raise filelock.Timeout("it")

    monkeypatch.setattr(filelock, "FileLock", taken)
    result = invoke()
    assert result.exit_code == 1 and "another process runs this calibration" in result.stderr


@pytest.mark.slow
def test_killed_it_goes_on(here):
    """A real process, SIGKILL, and the same command again, in this process."""
    command = [sys.executable, ROOT / "cli.py", "calibrate", "--space", "small.yaml"]
    first = subprocess.Popen([*command, "--minutes", "5"], stderr=subprocess.DEVNULL)
    work = wait_for_lines(here / "profiles", 12)
    first.send_signal(signal.SIGKILL)
    first.wait()
    kept = work.read_bytes().splitlines()
    assert len(kept) >= 12 and not list((here / "profiles").glob("*.csv"))
    spent = json.loads(kept[-1] if kept[-1].endswith(b"}") else kept[-2])["t"]
    minutes = str((spent + 0.2) / 60)
    again = invoke("--minutes", minutes, "--json")
    assert again.exit_code == 0, again.stderr
    document = json.loads(again.stdout)
    assert document["seconds"] > spent and not document["complete"]
    assert [p.suffix for p in sorted((here / "profiles").iterdir())] == [".csv", ".json"]


def wait_for_lines(folder, n):
    def long_enough():
        return [p for p in folder.glob(".*.jsonl") if p.read_bytes().count(b"\n") >= n]

    wait_until(long_enough)
    return long_enough()[0]
