"""The words of a survey."""

import pytest

from smt_nas.errors import ConfigError
from smt_nas.report.search.survey import survey_lines
from smt_nas.search.problem.problem import Problem
from smt_nas.search.survey import describe
from smt_nas.space import SearchSpace, SpaceConfig
from tests.fakes import devices as fakes
from tests.fakes.searches import SPACE, make_problem


@pytest.fixture(autouse=True)
def devices(monkeypatch):
    return fakes.install(monkeypatch)


def lines(*budgets, **more):
    return survey_lines(describe(make_problem(*budgets, **more)))


def test_a_space_alone():
    space, macs, params = lines(objectives=("macs", "params"))
    assert space == "Space smt_micro: 1.64e+10 networks at 32 px."
    assert macs.startswith("  MMACs: 1.") and macs.endswith(" max")
    assert params.startswith("  kparams: ")


def test_what_is_predicted_says_so_and_from_what(devices):
    text = lines("5ms@a100:b8:fp16")
    assert any(
        x.startswith("  latency_ms on a100 (b8 fp16): ")
        and x.endswith("max, predicted for 19,999 networks")  # one of 20,000 was drawn twice
        for x in text
    )
    a100 = "(Fake GPU fake_a100; not here, so not measured)"
    assert f"Latency on a100 (b8 fp16) is predicted from its data sheet {a100}." in text
    assert "Must hold: at most 5 ms on a100 (b8 fp16)." in text
    devices["cpu"].basis = "table"
    cpu = "(Fake CPU fake_cpu; the front is measured on it)"
    assert f"Latency on cpu (b1 fp32) is predicted from blocks measured on it {cpu}." in lines(
        "5ms"
    )


def test_a_front_that_is_not_timed_is_not_called_measured():
    problem = Problem.of(SPACE, ["5ms"], ("latency_ms", "macs"), "cpu")
    text = " ".join(survey_lines(describe(problem, verify=False)))
    assert "not measured, by --no-verify" in text and "the front is measured" not in text


def test_networks_of_a_small_space_are_counted_once(tmp_path):
    config = SPACE.config.model_dump(mode="json")
    for stage in config["stages"]:
        stage |= {name: options[:1] for name, options in stage.items() if len(options) > 1}
    config["stages"][2]["depth"] = [2, 4, 6]
    small = SearchSpace(SpaceConfig.model_validate(config), "small")
    problem = Problem.of(small, [], ("latency_ms", "macs"), "a100")
    (line,) = [x for x in survey_lines(describe(problem)) if x.startswith("  latency_ms")]
    assert small.size == 3 and line.endswith("max, predicted for 3 networks")


def test_where_networks_wait_for_the_host_a_limit_on_latency_says_so(devices):
    devices["a100"].host_bound = True
    (line,) = [x for x in lines("5ms@a100:b1:fp16") if "bound by the host" in x]
    assert line.startswith("On a100 (b1 fp16) 100% of the networks are bound by the host")
    assert "add :graph to the budget" in line and "a batch" in line
    assert not any("bound by the host" in x for x in lines("5ms@a100:b1:fp16:graph"))
    devices["a100"].host_bound = False
    assert not any("bound by the host" in x for x in lines("5ms@a100:b1:fp16"))


def test_a_limit_that_no_network_holds_as_all_wait_names_the_graph(devices):
    devices["a100"].host_bound = True
    with pytest.raises(ConfigError, match=r"nearest that can be met: .* add :graph"):
        lines("0.001ms@a100")


def test_why_the_objective_is_of_another_device_than_the_limit():
    wanted = {"objectives": ("macs", "latency_ms")}
    assert not any("as an objective" in x for x in lines("5ms@a100", **wanted))
    named = lines("5ms@a100", device="cpu", **wanted)
    assert named[-1] == "Latency as an objective is of cpu, not of a100: --device names it."
    several = lines("5ms@a100", "5ms@cpu", **wanted)
    assert several[-1] == (
        "Latency as an objective is of cpu, not of a100: the budgets do not name one device; "
        "--device chooses it."
    )


def test_a_macs_budget_is_explained_by_the_smallest_preset():
    text = lines("20MMACs", objectives=("macs", "params"))
    (explained,) = [x for x in text if "FLOPs here are" in x]
    assert explained.startswith("20 MFLOPs here are 20.00 MMACs (40.00 MFLOP at 2 FLOPs per MAC)")
    assert explained.endswith("it does not fit.")
    assert lines("60MMACs")[-3].endswith("it fits.")


def test_the_share_that_fits_is_never_told_as_zero():
    assert lines("20MMACs")[-1] == "Share of the space that fits: 92.8%."
    assert lines("2.1MMACs")[-1] == "Share of the space that fits: less than 0.1%."
