"""A search as a whole: what it finds, that it can be repeated, killed and resumed."""

import itertools
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest

from smt_nas import costs, load_arch, search
from smt_nas.accuracy import FunctionEvaluator
from smt_nas.errors import StoreError
from smt_nas.search.begin import reopen

ROOT = Path(__file__).resolve().parents[2]
TIMED = ["latency_ms", "latency_ms_from", "latency_iqr_ms"]
BUDGET = ("12MMACs",)


def rating(arch):
    """A made-up score with an optimum inside the space, so that fronts are not monotone in size."""
    return float(np.log(costs.of(arch).params) - 0.3 * sum(len(s.kernels) for s in arch.stages))


def begin(out, **settings):
    asked = {"space": "smt_micro", "budgets": BUDGET, "n": 70, "prove": False, **settings}
    return search.start(search.Settings(**asked), out, rater=FunctionEvaluator(rating))


def front_of(folder):
    frame = pd.read_csv(folder / "front.csv")
    return frame.drop(columns=[c for c in TIMED if c in frame])


def test_the_front_is_what_no_trial_beats(tmp_path):
    outcome = begin(tmp_path / "run").run()
    points = [
        (-t.evaluation.value, costs.of(a).macs, costs.of(a).params)
        for t in outcome.trials
        for a in outcome.problem.space.decode(t.genes[None])
    ]
    beaten = [
        any(all(x <= y for x, y in zip(p, q, strict=True)) and p != q for p in points)
        for q in points
    ]
    expected = {t.key for t, b in zip(outcome.trials, beaten, strict=True) if not b}
    assert {r.arch.key for r in outcome.front} == expected
    assert len({t.key for t in outcome.trials}) == len(outcome.trials) == 70
    assert all(r.values["macs"] <= 12e6 for r in outcome.front)
    storage = f"sqlite:///{tmp_path}/run/study.db"
    study = optuna.load_study(study_name=None, storage=storage)
    assert {t.user_attrs["key"] for t in study.best_trials} == expected
    assert study.trials[0].params["stage1.dim"] in (16, 32)
    assert all(c <= 0 for t in study.trials for c in t.constraints.values())


@pytest.mark.parametrize("strategy", search.STRATEGIES)
def test_a_seed_is_a_search(tmp_path, strategy):
    runs = [
        begin(tmp_path / f"{strategy}{i}", seed=seed, strategy=strategy).run()
        for i, seed in enumerate((0, 0, 1))
    ]
    keys = [[t.key for t in r.trials] for r in runs]
    assert keys[0] == keys[1] != keys[2]
    assert front_of(runs[0].path).equals(front_of(runs[1].path))


def test_the_surrogate_beats_chance(tmp_path):
    """Same evaluations, more hypervolume than random search; a fixed seed, so no luck involved."""
    import moocore

    volumes = {}
    for strategy in ("nsga2", "random"):
        outcome = begin(tmp_path / strategy, strategy=strategy, n=96, objectives=("score", "macs"))
        front = outcome.run().front
        points = [(-r.values["score"], r.values["macs"] / 12e6) for r in front]
        volumes[strategy] = moocore.hypervolume(np.array(points), ref=[-8.0, 1.0])
    assert volumes["nsga2"] > volumes["random"]


def test_a_longer_search_continues_a_shorter_one(tmp_path):
    begin(tmp_path / "a", n=40).run()
    longer = reopen(tmp_path / "a", n=70, rater=FunctionEvaluator(rating)).run()
    whole = begin(tmp_path / "b", n=70).run()
    assert [t.key for t in longer.trials] == [t.key for t in whole.trials]


def test_what_fails_is_a_trial_with_its_reason(tmp_path):
    calls = itertools.count()

    def moody(arch):
        number = next(calls)
        if number % 3 == 0:
            raise RuntimeError("cannot be built")
        return float("nan") if number % 3 == 1 else 1.0 * number

    settings = search.Settings(space="smt_micro", budgets=BUDGET, n=12, prove=False)
    outcome = search.start(settings, tmp_path / "r", rater=FunctionEvaluator(moody)).run()
    reasons = [t.evaluation.reason for t in outcome.trials]
    assert len(reasons) == 12 and reasons[0] == "RuntimeError: cannot be built"
    assert "must be a finite number" in reasons[1] and reasons[2] is None
    assert outcome.finished and outcome.front


def test_a_tight_budget_ends_when_nothing_is_left(tmp_path):
    least = costs.bounds(begin(tmp_path / "x").problem.space)["macs"].low
    outcome = begin(tmp_path / "r", budgets=(f"{least / 1e6}MMACs",)).run()
    assert 1 <= len(outcome.trials) < 70 and outcome.finished


def test_one_process_at_a_time(tmp_path):
    first = begin(tmp_path / "r", n=2)
    with first.directory.lock(), pytest.raises(StoreError, match="another process"):
        reopen(tmp_path / "r", rater=FunctionEvaluator(rating)).run()


def command(folder, *words):
    return [sys.executable, "-m", "smt_nas", *words, *folder]


@pytest.mark.slow
def test_killed_five_times_and_resumed_ends_with_the_same_front(tmp_path):
    """The real evaluator, two workers, SIGKILL at random moments; no worker outlives its leader."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = ["search", "--space", "smt_micro", "--budget", "8MMACs", "--n", "40", "--workers", "2"]

    def run(*line, kill_after=None):
        child = subprocess.Popen(
            [sys.executable, "-m", "smt_nas", *line],
            cwd=tmp_path,
            env=env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            return child.wait(kill_after)
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGKILL)
            return child.wait()

    assert run(*words, "--out", "whole") == 0
    chance = random.Random(0)
    run(*words, "--out", "cut", kill_after=chance.uniform(4, 8))
    for _ in range(4):
        run("resume", "cut", "--workers", "2", kill_after=chance.uniform(3, 8))
    assert run("resume", "cut", "--workers", "1") == 0
    assert front_of(tmp_path / "cut").equals(front_of(tmp_path / "whole"))
    front = front_of(tmp_path / "whole")
    assert (front[front.kind == "front"].macs_torch <= 8e6).all()
    for path in (tmp_path / "cut/front").glob("*.yaml"):
        assert costs.of(load_arch(path)).macs <= 8e6
    time.sleep(1)
    listing = subprocess.run(["ps", "axo", "args"], capture_output=True, text=True).stdout
    assert "smt_nas.search.workers import serve" not in listing or str(tmp_path) not in listing
