"""Columns of a front's table: headings, provenance, marks."""

import pytest

from smt_nas.evaluators import Evaluation
from smt_nas.report.search.columns import make_columns
from smt_nas.search.results.results import compare_with_presets
from smt_nas.search.storage.study_notes import Timing, Verification
from tests.fakes import devices as fakes
from tests.fakes.searches import make_outcome, make_problem, make_trials, sample


@pytest.fixture(autouse=True)
def devices(monkeypatch):
    return fakes.install(monkeypatch)


def headings(outcome):
    return [c.heading.split("\n") for c in make_columns(outcome)]


def verify(problem, members, ms, status="ok"):
    timing = Timing(latency_ms=ms, spread_ms=0, samples=9, status=status)
    timings = {str(t): timing for t in problem.local_targets}
    return [r.with_verification(problem, Verification({}, None, timings)) for r in members]


def test_columns_say_where_their_numbers_come_from():
    problem = make_problem(objectives=("score", "latency", "macs"))
    outcome = make_outcome(problem, make_trials(problem, sample(20)))
    found = headings(outcome)
    assert ["MMACs", "exact"] in found and ["score", "function"] in found
    assert ["latency_ms", "predicted"] in found  # of this machine: no need to name it
    assert found[-1] == ["MACs vs", "smt_t"]
    ratio = make_columns(outcome)[-1].cell
    assert ratio(outcome.baselines[0]) == "1.00x"


def test_a_device_is_named_where_there_are_several():
    problem = make_problem("5ms@a100", "5ms@a100:b8", objectives=("latency",), device="cpu")
    found = headings(make_outcome(problem, make_trials(problem, sample(20))))
    assert [h for h in found if h[0] == "latency_ms"] == [
        ["latency_ms", "cpu", "predicted"],
        ["latency_ms", "a100", "b1 fp32", "predicted"],
        ["latency_ms", "a100", "b8 fp32", "predicted"],
    ]


def test_a_measurement_that_breaks_its_budget_is_marked():
    problem = make_problem("5ms", objectives=("score", "latency"))
    outcome = make_outcome(problem, make_trials(problem, sample(20)))
    fast, slow = verify(problem, outcome.front[:1], 4.0), verify(problem, outcome.front[1:2], 6.0)
    outcome = make_outcome(problem, outcome.trials, front=[*fast, *slow])
    (measured,) = [c for c in make_columns(outcome) if c.heading.endswith("measured")]
    assert [measured.cell(r).strip() for r in outcome.front] == ["4.00", "6.00!"]
    assert measured.cell(outcome.baselines[0]).strip() == "-"


def test_a_measurement_says_its_status_and_its_ratio_to_the_preset_of_equal_cost():
    problem = make_problem(objectives=("score", "latency"))
    outcome = make_outcome(problem, make_trials(problem, sample(20)))
    presets = verify(problem, outcome.baselines, 8.0, "ok")
    quiet = verify(problem, outcome.front[:1], 4.0, "ok")
    busy = verify(problem, outcome.front[1:2], 6.0, "loaded")
    front = compare_with_presets([*quiet, *busy], presets)
    outcome = make_outcome(problem, outcome.trials, front=front, baselines=presets)
    columns = {c.heading: c for c in make_columns(outcome)}
    measured = next(c for h, c in columns.items() if h.endswith("measured"))
    assert [measured.cell(r).strip() for r in outcome.front] == ["4.00", "6.00~"]
    ratio = columns["vs like\npreset"]
    assert [ratio.cell(r) for r in outcome.front] == ["0.50x smt_t", "0.75x smt_t"]
    assert ratio.cell(outcome.baselines[0]) == "-"
    frame = outcome.frame()
    assert list(frame.latency_ms_status[:3]) == ["ok", "loaded", "ok"]
    assert list(frame.latency_ms_vs_preset[:2]) == [0.5, 0.75]
    assert list(frame.latency_ms_preset[:2]) == ["smt_t"] * 2 and frame.latency_ms_preset[2] is None


def test_what_of_the_score_is_of_the_topology_stands_beside_it():
    problem = make_problem()
    evaluations = [
        Evaluation(float(i), "predicted", components={"topology": 0.5 - i}) for i in range(2)
    ]
    outcome = make_outcome(problem, make_trials(problem, sample(2), evaluations))
    (column,) = [c for c in make_columns(outcome) if "topology" in c.heading]
    assert column.spare and column.cell(outcome.baselines[0]) == "-"
    assert {column.cell(r)[0] for r in outcome.front} <= {"+", "-"}


def test_what_nobody_asked_for_may_be_left_out():
    problem = make_problem(objectives=("macs",))
    outcome = make_outcome(problem, make_trials(problem, sample(5)))
    spare = [c.heading.split("\n")[0] for c in make_columns(outcome) if c.spare]
    assert spare == ["peak MB"]
