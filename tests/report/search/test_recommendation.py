"""The line that recommends one network."""

from dataclasses import replace

import pytest

from smt_nas.evaluators import Evaluation
from smt_nas.report.search.columns import make_columns
from smt_nas.report.search.recommendation import recommend_line, recommended_name
from smt_nas.search.results.results import MeasuredValue
from tests.fakes import devices as fakes
from tests.fakes.searches import make_outcome, make_problem, make_trials, sample


@pytest.fixture
def outcome(monkeypatch):
    def make(low):
        fakes.install(monkeypatch)
        problem = make_problem(objectives=("score", "latency", "macs"))
        gains = {"gain": 0.64, "gain_low": low, "gain_high": 1.25}
        rated = Evaluation(0.6, "predicted", (0.1, 1.1), gains, by_lower_bound=True)
        made = make_outcome(problem, make_trials(problem, sample(1), [rated]))
        preset = replace(rated, interval=(0.0, 0.2))
        return replace(made, baselines=[replace(b, evaluation=preset) for b in made.baselines])

    return make


def test_a_certain_gain_is_told_with_its_interval_and_costs(outcome):
    line = recommend_line(outcome(0.2))
    assert line.startswith("Recommended: 0, top-1 +0.6 [+0.2, +1.2] points over smt_t scaled")
    assert "x the latency (predicted), " in line and "x the MACs, " in line and " of smt_t" in line


def test_no_gain_is_promised_where_none_is_certain(outcome):
    line = recommend_line(outcome(-0.3))
    assert line.startswith("Recommended: 0, no gain in top-1 over smt_t scaled to equal MACs is")
    assert "(+0.6 [-0.3, +1.2])" in line and "lower bound as high as its" in line
    assert recommended_name(outcome(-0.3)) == "0"


@pytest.mark.parametrize("status", ["ok", "loaded"])
def test_a_latency_measured_on_a_steady_machine_is_told_before_the_predicted_one(outcome, status):
    made = outcome(-0.3)
    front, presets = (
        [replace(r, measured={"latency_ms": MeasuredValue(ms, 0.1, 9, how)}) for r in rows]
        for rows, ms, how in ((made.front, 10.3, "ok"), (made.baselines, 10.0, status))
    )
    line = recommend_line(replace(made, front=front, baselines=presets))
    assert ("; 1.03x the latency (measured; predicted " in line) == (status == "ok")
    assert ("x the latency (predicted; measured 1.03x~)" in line) == (status == "loaded")


def test_a_lower_bound_far_below_the_presets_is_told_too(outcome):
    """Else a network a third of its size would read as its equal for less."""
    made = outcome(-0.3)
    far = replace(made.baselines[0].evaluation, interval=(2.4, 3.4))
    made = replace(made, baselines=[replace(b, evaluation=far) for b in made.baselines])
    assert recommend_line(made).endswith("; lower bound 2.3 points below its.")


def test_the_column_has_the_gain_of_members_alone(outcome):
    made = outcome(-0.3)
    (gain,) = [c for c in make_columns(made) if c.heading.startswith("gain over preset")]
    assert gain.cell(made.front[0]) == "+0.6 [-0.3, +1.2]"
    assert gain.cell(made.baselines[0]) == "-"


def test_without_gains_nothing_is_recommended(monkeypatch):
    fakes.install(monkeypatch)
    problem = make_problem(objectives=("score", "latency", "macs"))
    assert recommend_line(make_outcome(problem, make_trials(problem, sample(3)))) is None
