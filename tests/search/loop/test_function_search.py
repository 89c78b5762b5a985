"""A search by your own function, which raises, hangs, exits, prints, or changes its mind."""

import json
import math
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from smt_nas.errors import ConfigError
from smt_nas.evaluators import Evaluation, choose_evaluator, make_evaluator
from smt_nas.evaluators.runner import FIRST, EvaluationRunner
from smt_nas.runtime.engines.process_pool import ProcessPool
from smt_nas.search import Settings, resume_search
from tests.fakes.screening import short_screening  # noqa: F401
from tests.fakes.terminal import invoke
from tests.fakes.waiting import WATCHDOG_S, wait_until
from tests.search.setup.test_resume_search import alive, command, front

pytestmark = pytest.mark.usefixtures("short_screening")


OWN = """
import os, sys, time
from pathlib import Path

print("imported")

def call():
    with open("calls", "a") as file:
        file.write(".")
    return Path("calls").stat().st_size

def good(arch):
    return {"score": float(arch.stages[2].depth), "width": arch.stages[0].dim}

def awkward(arch):
    print("noise")
    os.system("echo noise")
    match call():
        case 1: raise RuntimeError("no room")
        case 3: time.sleep(600)
        case 4: sys.exit(4)
        case 5: os._exit(5)
        case 6: return "nonsense"
        case 7: return {"score": 1.0, "depth": 2.0}
        case 8: return 1.0
    return good(arch)

def never(arch):
    call()
    raise RuntimeError("no room")

def hangs_twice(arch):
    if call() in (3, 5):
        time.sleep(600)
    return good(arch)
"""
SEARCH = ["search", "--space", "smt_micro", "--budget", "20MMACs", "--no-verify"]
for _name in ("score", "macs", "params"):
    SEARCH += ["--objective", _name]
GOOD = Evaluation(1.0, "function", components={"width": 64.0})


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch):
    """`own` in the working directory."""
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(OWN)
    yield
    sys.modules.pop("own", None)


@pytest.mark.slow
def test_whatever_it_does_costs_one_evaluation():
    words = ["--evaluator", "own:awkward", "--timeout", 1, "--n", 9, "--workers", 1, "--json"]
    child = command(*SEARCH, *words, "--out", "run")
    out, err = child.communicate(timeout=WATCHDOG_S)
    assert child.returncode == 0, err
    assert json.loads(out)["trials"] == 9
    assert err.count("noise") > 9 and "Traceback" not in err
    search = resume_search(Path("run"), read_only=True)
    settings, trials = search.directory.settings, search.outcome().trials
    assert (settings.evaluator.word, settings.timeout) == ("own:awkward", 1)
    assert [t.evaluation.failure for t in trials] == [
        "RuntimeError: no room",
        None,
        "took more than 1 s; --timeout allows more",
        "SystemExit: 4",
        "its worker process ended (exit 5)",
        "score must be a finite number (got 'nonsense')",
        "must return the same metrics in every call (got no width, new depth)",
        "must return the same metrics in every call (got no width)",
        None,
    ]
    assert {t.evaluation.provenance for t in trials} == {"function"}
    assert list(trials[1].evaluation.components) == ["width"]


@pytest.mark.parametrize(("n", "workers"), [(12, 2), (6, 1)])
def test_one_that_always_fails_stops_the_search(n, workers):
    """Also where trials alone are fewer than its first calls: the baselines are rated too."""
    words = ["--evaluator", "own:never", "--n", n, "--workers", workers, "--out", "run"]
    result = invoke(*SEARCH, *words, code=1)
    assert result.stdout == ""
    [line] = [x for x in result.stderr.splitlines() if x.startswith("error: ")]
    assert line == (
        "error: evaluator own:never: must rate networks (got 8 failures in 8 calls; 8 times: "
        "RuntimeError: no room). Mend it, and search anew with another --out."
    )
    calls = len(Path("calls").read_text())  # of two workers one may be far ahead of the other
    assert calls == FIRST if workers == 1 else calls >= FIRST


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks into /proc")
def test_killed_and_interrupted_amid_a_hanging_function(tmp_path):
    def hangs(calls):
        return lambda: Path("calls").is_file() and len(Path("calls").read_text()) == calls

    words = ["--n", 6, "--workers", 1]
    search = [*SEARCH, *words, "--evaluator", "own:hangs_twice", "--out", "run"]
    for calls, arguments, sent in (
        (3, search, signal.SIGKILL),
        (5, ["resume", "run", "--workers", 1], signal.SIGINT),
    ):
        child = command(*arguments, mark=tmp_path)
        wait_until(hangs(calls))
        assert alive(str(tmp_path).encode())
        child.send_signal(sent)
        if sent == signal.SIGINT:  # the first lets what runs finish, and this will not
            time.sleep(1.0)
            child.send_signal(sent)
        if sent == signal.SIGINT:  # the first would wait for what hangs
            assert any("Ctrl-C again stops now" in line for line in child.stderr)
            child.send_signal(sent)
        out, err = child.communicate(timeout=WATCHDOG_S)
        assert "Traceback" not in err
        wait_until(lambda: not alive(str(tmp_path).encode()))
    assert child.returncode == 130
    assert "Front of" in out
    invoke("resume", "run", "--workers", 1)
    invoke(*SEARCH, *words, "--evaluator", "own:good", "--out", "good")
    assert front(Path("run")) == front(Path("good"))


def test_a_function_that_is_gone_is_told_by_resume():
    invoke(*SEARCH, "--evaluator", "own:good", "--n", 2, "--out", "run", "--workers", 1)
    Path("own.py").unlink()
    del sys.modules["own"]
    assert "got none named own)" in invoke("resume", "run", "--n", 3, code=1).stderr
    assert "Front of" in invoke("front", "run").stdout


@pytest.mark.parametrize("timeout", [0, -1, "nan", "inf"])
def test_a_timeout_is_above_zero(timeout):
    result = invoke(*SEARCH, f"--timeout={timeout}", "--out", "run", code=1)
    assert "error: search: timeout must be" in result.stderr
    assert not Path("run").exists()


def test_runs_from_before_timeouts_load():
    assert Settings.model_validate({"space": "smt_micro"}).timeout is None


class Ratings:
    """Stands for workers that rate."""

    def __init__(self, *ratings):
        self._ratings = ratings

    def map(self, *arguments):
        return iter(self._ratings)


def rated(*ratings, earlier=()):
    """What a run holds of the ratings of its workers; with the error that stops it, if any."""
    choice = choose_evaluator("own:good")
    runner, held = (
        EvaluationRunner(make_evaluator(choice), Ratings(*ratings), choice, None, earlier),
        [],
    )
    try:
        for rating in runner.evaluate([]):
            held.append(rating.failure)
    except ConfigError as error:
        return held, str(error)
    return held, None


def failed(number=0):
    return Evaluation(None, "function", failure=f"no room {number}")


def test_failures_after_a_success_stop_nothing():
    reasons, error = rated(*[failed()] * 7, GOOD, *[failed()] * 20)
    assert (len(reasons), error) == (28, None)


def test_the_most_common_reason_is_told_and_all_are_held():
    reasons, error = rated(*(failed(i // 3) for i in range(20)))
    assert reasons == [failed(i // 3).failure for i in range(FIRST)]
    assert "3 times: no room 0" in error


def test_metrics_stay_those_of_the_run_that_is_resumed():
    earlier = [failed(), Evaluation(1.0, "function", components={"top5": 0.5})]
    reasons, _ = rated(GOOD, earlier[1], earlier=earlier)
    assert reasons == ["must return the same metrics in every call (got no top5, new width)", None]


class TestWorkers:
    """With a timeout nothing runs in this process."""

    def test_late_ones_are_replaced_and_the_order_stays(self):
        naps = [0.0, 60.0, 0.1, 60.0, 0.0]
        with ProcessPool(2) as workers:
            answers = list(workers.map(time.sleep, naps, str.upper, timeout=1))
        late = "TOOK MORE THAN 1 S; --TIMEOUT ALLOWS MORE"
        assert answers == [None, late, None, late, None]

    def test_any_time_is_yet_elsewhere(self):
        with ProcessPool(1) as workers:
            [found] = workers.map(eval, ["__import__('os').getpid()"], str, timeout=math.inf)
            [died] = workers.map(os._exit, [3], str, timeout=math.inf)
        assert found != os.getpid()
        assert died == "its worker process ended (exit 3)"

    def test_preparing_is_off_the_clock(self):
        slow = partial(time.sleep, 1)
        with ProcessPool(2) as workers:
            assert list(workers.map(abs, [-1, -2], str, 0.5, slow)) == [1, 2]

    def test_what_a_late_one_started_ends_with_it(self, tmp_path):
        nap = f"sleep 600 & echo $! > {tmp_path}/pid; wait"
        with ProcessPool(1) as workers:
            [late] = workers.map(os.system, [nap], str, timeout=1)
        assert "took more" in late
        grandchild = int((tmp_path / "pid").read_text())
        with pytest.raises(ProcessLookupError):
            wait_until(partial(os.kill, grandchild, 0))

    def test_a_map_that_was_given_up_leaves_no_answers(self):
        with ProcessPool(2) as workers:
            assert next(workers.map(abs, [-1, -2, -3, -4], str)) == 1
            assert list(workers.map(abs, [-5, -6], str)) == [5, 6]
