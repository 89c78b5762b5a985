"""Notes on a front's latencies."""

import pytest

from smt_nas.report.search.latency import latency_notes, prediction_notes
from smt_nas.search.storage.study_notes import Timing, Verification
from tests.fakes import devices as fakes
from tests.fakes.searches import make_outcome, make_problem, make_trials, sample


@pytest.fixture(autouse=True)
def devices(monkeypatch):
    return fakes.install(monkeypatch)


def verified(problem, trials, verifications):
    front = make_outcome(problem, trials).front
    pairs = zip(front, verifications, strict=False)
    members = [r.with_verification(problem, v) for r, v in pairs]
    return make_outcome(problem, trials, front=[*members, *front[len(members) :]])


def texts(outcome):
    """All notes, in full."""
    return [note.text for note in (*latency_notes(outcome), *prediction_notes(outcome))]


def timed(problem, latency_ms, status="ok"):
    (target,) = problem.local_targets
    timing = Timing(latency_ms=latency_ms, spread_ms=0.1, samples=9, status=status)
    return Verification({}, None, {str(target): timing})


def test_a_prediction_says_from_what_and_that_nothing_was_measured():
    problem = make_problem("5ms@a100", objectives=("score", "macs"))
    outcome = make_outcome(problem, make_trials(problem, sample(20)))
    (note,) = prediction_notes(outcome)
    assert note.text == (
        "latency_ms on a100 (b1 fp32): predicted from its data sheet (Fake GPU fake_a100), with an "
        "80 % interval in front.csv; no a100 is here, so it is not measured."
    )
    (budget,) = latency_notes(outcome)
    assert budget.short.startswith("By prediction only, at most 5 ms on a100 (b1 fp32): 0 of ")
    assert "is held by prediction, not by measurement" in budget.text


def test_measurements_are_told_with_their_quality_and_what_breaks_the_budget():
    problem = make_problem("5ms", objectives=("score", "latency"))
    trials = make_trials(problem, sample(30))
    outcome = verified(problem, trials, [timed(problem, 4.0), timed(problem, 6.0, "noisy")])
    notes = texts(outcome)
    assert any(
        "latency_ms measured: on this machine, cpu (b1 fp32), 1 CPU thread, median" in note
        and "(marked ~, of 2: 1 noisy)" in note
        for note in notes
    )
    assert ("! Not met by measurement, 1 of 2 networks: at most 5 ms on cpu (b1 fp32).") in notes
    assert any(
        note.startswith("Predicted against measured latency_ms, 2 networks") for note in notes
    )


def test_what_could_not_be_timed_and_what_is_by_formula():
    problem = make_problem("2GB@cpu:b8", objectives=("score", "latency"))
    targets = {str(t): "no memory." for t in problem.local_targets}
    trials = make_trials(problem, sample(20))
    notes = texts(verified(problem, trials, [Verification({}, None, {}, targets)]))
    assert "Not timed: 1 network, e.g. no memory." in notes
    assert any(note.startswith("peak MB on cpu (b8 fp32): by formula") for note in notes)


def test_presets_predicted_otherwise_are_named(devices):
    devices["cpu"].basis = "table"
    problem = make_problem("5ms", objectives=("score", "macs"))
    notes = texts(make_outcome(problem, make_trials(problem, sample(20))))
    assert (
        "smt_t, smt_s, smt_b, smt_l: outside the space, so predicted from its data sheet." in notes
    )


def test_formulas_alone_need_no_note():
    problem = make_problem(objectives=("macs", "params"))
    assert texts(make_outcome(problem, make_trials(problem, sample(20)))) == []
