"""history.csv: every trial in its order, also of a search that was stopped."""

import numpy as np
import pandas
import pytest

from smt_nas.errors import StoreError
from smt_nas.evaluators import Evaluation, FunctionEvaluator
from smt_nas.search import Settings, create_search
from smt_nas.search.watch.history_table import HistoryFile, make_history_frame
from tests.fakes.searches import make_problem, make_trials, sample
from tests.fakes.terminal import Clock


def test_each_trial_is_a_row_with_its_figures_and_the_hypervolume_so_far():
    problem, genes = make_problem("12MMACs", objectives=("score", "macs")), sample(4)
    evaluations = [
        Evaluation(1.5, "function", seconds=2.0),
        Evaluation(None, "function", failure="broke"),
        Evaluation(None, "trained", failure="stopped after 1 epoch", stopped=True),
        Evaluation(2.5, "function"),
    ]
    trials = make_trials(problem, genes, evaluations)
    frame = make_history_frame(problem, trials)
    assert frame["trial"].tolist() == [0, 1, 2, 3]
    assert frame["key"].tolist() == [t.key for t in trials]
    assert frame["state"].tolist() == ["complete", "failed", "stopped", "complete"]
    assert frame["reason"].tolist()[1:3] == ["broke", "stopped after 1 epoch"]
    assert frame["seconds"][0] == 2.0 and frame["score"].isna().tolist() == [
        False,
        True,
        True,
        False,
    ]
    assert frame["macs"].tolist() == problem.costs(genes)["macs"].tolist()
    assert frame["feasible"].tolist() == problem.feasible(genes).tolist()
    assert (np.diff(frame["hypervolume"]) >= 0).all()


def test_a_run_without_trials_has_the_columns():
    frame = make_history_frame(make_problem(), [])
    assert len(frame) == 0 and {"trial", "key", "state", "hypervolume"} <= set(frame.columns)


@pytest.mark.parametrize("stop_at", [None, 4])
def test_a_run_keeps_it_also_where_it_was_stopped(tmp_path, stop_at):
    calls = []

    def rate(arch):
        calls.append(arch)
        if len(calls) == stop_at:
            raise KeyboardInterrupt
        return float(arch.stages[0].depth)

    settings = Settings(
        space="smt_micro", strategy="random", n=6, verify=False, objectives=("score", "macs")
    )
    create_search(settings, tmp_path / "r", evaluator=FunctionEvaluator(rate)).run()
    frame = pandas.read_csv(tmp_path / "r/history.csv")
    assert len(frame) == (6 if stop_at is None else stop_at - 1)
    assert frame["hypervolume"].is_monotonic_increasing


def test_it_is_renewed_at_most_once_a_minute_and_a_failure_keeps_the_old_one(tmp_path, monkeypatch):
    problem, clock = make_problem(objectives=("score", "macs")), Clock()
    trials = make_trials(problem, sample(3))
    file = HistoryFile(tmp_path, problem, clock)
    file.keep(trials[:1])
    for at, rows in ((59.0, 1), (60.0, 3)):
        clock.now = at
        file.keep(trials)
        assert len(pandas.read_csv(tmp_path / "history.csv")) == rows

    def fail(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(StoreError, match="No space left"):
        file.write(trials[:2])
    assert len(pandas.read_csv(tmp_path / "history.csv")) == 3
