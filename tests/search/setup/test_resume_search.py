"""The same seed gives the same search: again, with other workers, killed, cut and extended."""

import csv
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from smt_nas.errors import StoreError
from smt_nas.evaluators import FunctionEvaluator
from smt_nas.runtime.engines import process_pool
from smt_nas.search import Settings, create_search, resume_search, run_directory
from smt_nas.search.loop.listener import NullSearchProgress
from tests.fakes import devices as fakes
from tests.fakes.screening import short_screening  # noqa: F401
from tests.fakes.terminal import invoke
from tests.fakes.waiting import WATCHDOG_S, wait_until

pytestmark = pytest.mark.usefixtures("short_screening")


CHECKOUT = Path(__file__).resolve().parents[3]
SETTINGS = {
    "space": "smt_micro",
    "budgets": ("10MMACs",),
    "objectives": ("score", "macs", "params"),
    "verify": False,
}
N = 26  # three rounds and a part of one


def front(path):
    """The rows of front.csv."""
    with (path / "front.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def rater(fail_at=None):
    """Rates by a formula that no cost is; `fail_at`: raises Ctrl-C at that call."""
    calls = []

    def rate(arch):
        calls.append(arch)
        if len(calls) == fail_at:
            raise KeyboardInterrupt
        return float(sum(s.depth * len(s.kernels) * s.mlp_ratio for s in arch.stages))

    return FunctionEvaluator(rate)


def run(path, n=N, seed=0, **more):
    settings = Settings(**SETTINGS, n=n, seed=seed, **more)
    return create_search(settings, path, evaluator=rater()).run()


def command(*words, mark=""):
    env = {**os.environ, "PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1", "MARK": str(mark)}
    return subprocess.Popen(
        [sys.executable, "-m", "smt_nas", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
        # a shell starts what it puts in the background with Ctrl-C ignored, CI's perhaps too
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "run"
    assert len(run(path).front) > 3
    return path


def test_the_same_seed_gives_the_same(whole, tmp_path):
    run(tmp_path / "again")
    run(tmp_path / "other", seed=1)
    assert front(tmp_path / "again") == front(whole)
    assert front(tmp_path / "other") != front(whole)


@pytest.mark.parametrize("cut", [1, 9, 25])
def test_interrupted_anywhere_and_resumed(whole, tmp_path, cut):
    path = tmp_path / "cut"
    stopped = create_search(Settings(**SETTINGS, n=N), path, evaluator=rater(fail_at=cut)).run()
    assert stopped.interrupted
    assert not stopped.finished
    assert len(stopped.trials) == cut - 1
    assert bool(stopped.front) == (cut > 1)
    assert len(front(path)) == len(stopped.front) + 4
    outcome = resume_search(path, evaluator=rater()).run()
    assert outcome.finished
    assert front(path) == front(whole)


def test_more_networks_later_are_those_of_a_longer_search(whole, tmp_path):
    run(tmp_path / "short", n=16)
    resume_search(tmp_path / "short", n=N, evaluator=rater()).run()
    assert front(tmp_path / "short") == front(whole)


def test_a_moved_run_goes_on(whole, tmp_path):
    run(tmp_path / "before", n=16)
    (tmp_path / "before").rename(tmp_path / "after")
    resume_search(tmp_path / "after", n=N, evaluator=rater()).run()
    assert front(tmp_path / "after") == front(whole)


SMALL = ("--space", "smt_micro", "--budget", "10MMACs", "--no-verify", "--evaluator", "zero-cost")


WORKER = f"from {process_pool.__name__} import".encode()  # what its command line begins with


def alive(pattern):
    """Worker processes whose environment names a directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes()
            if WORKER in words and pattern in (process / "environ").read_bytes():
                found.append(process.name)
        except OSError:
            continue
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks into /proc")
def test_sigkill_leaves_no_worker_and_resume_gives_the_same(tmp_path):
    invoke("search", *SMALL, "--n", 9, "--workers", 1, "--out", tmp_path / "one")
    mark = str(tmp_path).encode()
    killed = tmp_path / "killed"
    words = ["search", *SMALL, "--n", 9, "--workers", 2, "--out", killed]
    for trials in (1, 7):
        child = command(*words, mark=tmp_path)
        wait_until(lambda t=trials: stored(killed) >= t)
        assert alive(mark)
        child.send_signal(signal.SIGKILL)
        child.communicate()
        wait_until(lambda: not alive(mark))
        words = ["resume", killed, "--workers", 2]
    invoke("resume", killed, "--workers", 1)
    assert front(killed) == front(tmp_path / "one")


def stored(path):
    """Trials that a run has finished so far; others wait or are under way."""
    import sqlite3

    try:
        with sqlite3.connect(f"file:{path / 'study.db'}?mode=ro", uri=True) as database:
            return database.execute(
                "select count(*) from trials where state in ('COMPLETE', 'PRUNED', 'FAIL')"
            ).fetchone()[0]
    except sqlite3.OperationalError:
        return -1


@pytest.mark.slow
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -15)])
def test_signals_leave_a_run_that_goes_on(tmp_path, sent, code):
    path = tmp_path / "run"
    child = command("search", *SMALL, "--n", 400, "--workers", 1, "--out", path)
    wait_until(lambda: stored(path) >= 3)
    child.send_signal(sent)
    try:
        out, err = child.communicate(timeout=WATCHDOG_S)
    finally:
        child.kill()
    assert child.returncode == code
    assert "Traceback" not in err
    if sent == signal.SIGINT:
        assert "Front of" in out
        assert f"Next: smt-nas resume {path}" in out
        assert len(front(path)) > 4
    assert "not finished" in invoke("front", path).stdout
    before = stored(path)
    resumed = invoke("resume", path, "--n", before + 1, "--workers", 1, "--json")
    assert f'"trials": {before + 1}' in resumed.stdout


class Hears(NullSearchProgress):
    """Keeps what is said."""

    def __init__(self):
        self.lines = []

    def say(self, text):
        self.lines.append(text)


def resumed(path, **more):
    hears = Hears()
    return resume_search(path, evaluator=rater(), listener=hears, **more), hears.lines


def test_another_machine_is_told_at_resume(tmp_path, monkeypatch):
    run(tmp_path / "run", n=4)
    _, lines = resumed(tmp_path / "run")
    assert not any("another machine" in line for line in lines)
    monkeypatch.setattr(run_directory, "describe_machine", lambda: "A CPU, 64 threads")
    _, lines = resumed(tmp_path / "run")
    (line,) = [line for line in lines if "another machine" in line]
    assert "this is A CPU, 64 threads" in line


def test_a_run_of_before_machines_were_told_apart_is_held_to_its_processor(tmp_path, monkeypatch):
    run(tmp_path / "run", n=4)
    file = tmp_path / "run" / "run.yaml"
    lines = [x for x in file.read_text().splitlines() if not x.startswith("machine:")]
    file.write_text("\n".join(lines) + "\n")
    monkeypatch.setattr(run_directory, "describe_machine", lambda: "as it is told now")
    _, said = resumed(tmp_path / "run")
    assert not any("another machine" in line for line in said)


def test_the_device_is_in_what_a_study_depends_on_and_is_said(tmp_path, monkeypatch):
    fakes.install(monkeypatch)
    hears = Hears()
    asked = SETTINGS | {"objectives": ("score", "latency"), "n": 4}
    search = create_search(Settings(**asked), tmp_path / "run", evaluator=rater(), listener=hears)
    assert search.directory.identity["devices"] == {"cpu:b1:fp32": "Fake CPU fake_cpu"}
    assert any("gives this search again where cpu is Fake CPU" in x for x in hears.lines)
    search.run()
    monkeypatch.setattr(run_directory, "describe_machine", lambda: "A CPU, 64 threads")
    fakes.install(monkeypatch)["cpu"].macs_per_ms *= 2
    with pytest.raises(StoreError, match=r"cpu is another device here \(A CPU, 64 threads\)"):
        resume_search(tmp_path / "run", evaluator=rater())


def test_a_named_device_is_the_same_everywhere(tmp_path, monkeypatch):
    fakes.install(monkeypatch)
    hears = Hears()
    asked = SETTINGS | {"objectives": ("score", "latency"), "n": 4, "device": "a100"}
    create_search(Settings(**asked), tmp_path / "run", evaluator=rater(), listener=hears)
    assert not any("gives this search again" in line for line in hears.lines)
