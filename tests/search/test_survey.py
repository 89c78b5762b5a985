"""A space before a search: ranges, medians, the share that fits, and what cannot be met."""

import numpy as np
import pytest

from smt_nas import costs
from smt_nas.errors import ConfigError
from smt_nas.search.proposal import screen
from smt_nas.search.survey import SAMPLE, describe
from smt_nas.space.baselines import baselines
from tests.fakes import devices as fakes
from tests.fakes.searches import SPACE, make_problem, sample


@pytest.fixture
def devices(monkeypatch):
    monkeypatch.setattr(screen, "POPULATION", 40)
    return fakes.install(monkeypatch)


def test_values_over_the_space(devices):
    survey = describe(make_problem("10MMACs", "0.3ms"))
    values = survey.problem.values(SPACE.sample(np.random.default_rng(0), SAMPLE))
    bounds = costs.bounds(SPACE)
    assert survey.ranges["macs"] == bounds["macs"]
    for name in ("macs", "params", "latency_ms"):
        span, median = survey.ranges[name], survey.medians[name]
        assert span.low < median < span.high and median == np.median(values[name])
        assert span.low <= values[name].min() and values[name].max() <= span.high
    fits = (values["macs"] <= 10e6) & (values["latency_ms"] <= 0.3)
    assert survey.share == fits.mean()
    assert survey.preset == "smt_t"
    assert survey.preset_costs == costs.of(baselines(SPACE)["smt_t"])
    assert survey.targets == survey.problem.target_records


@pytest.mark.parametrize(
    ("budgets", "expected"),
    [
        (["0.1MMACs"], r"costs so little. The nearest that can be met: 1\.\d+ MMACs"),
        (["900..901MMACs"], r"costs so much. The nearest that can be met: at least \d+\.\d+ MMACs"),
        (["2..2.2MMACs", "1.9..1.95Mparams"], r"The nearest network has \S+ MMACs, \S+ kparams"),
    ],
)
def test_a_budget_that_nothing_meets_is_told_with_the_nearest(devices, budgets, expected):
    with pytest.raises(ConfigError, match=expected):
        describe(make_problem(*budgets))


def test_the_nearest_that_is_told_can_be_met(devices):
    with pytest.raises(ConfigError) as caught:
        describe(make_problem("0.1MMACs"))
    nearest = float(str(caught.value).split("can be met: ")[1].split()[0])
    assert describe(make_problem(f"{nearest}MMACs")).share >= 0
    assert (make_problem().values(sample(100))["macs"] > 0.9 * nearest * 1e6).all()
