"""The region of published designs: when a search keeps to it, and where a network lies."""

import numpy as np
import pytest

from smt_nas.arch import PRESETS, SMALL_PRESETS
from smt_nas.errors import ConfigError, StoreError
from smt_nas.evaluators import make_evaluator
from smt_nas.evaluators.function import FunctionEvaluator
from smt_nas.search import Settings, create_search, resume_search
from smt_nas.search.loop.listener import NullSearchProgress
from smt_nas.search.problem.problem import Problem
from smt_nas.search.problem.region import choose_region, load_region, place_design
from smt_nas.search.survey import describe
from smt_nas.space import SearchSpace
from smt_nas.space.space_config import SpaceConfig
from tests.fakes.published import promised_before
from tests.fakes.screening import short_screening  # noqa: F401

SMT, MICRO = SearchSpace.load("smt"), SearchSpace.load("smt_micro")


def make(name, space=SMT):
    evaluator = make_evaluator(name)
    return evaluator.for_space(space) if hasattr(evaluator, "for_space") else evaluator


def shallow_space():
    """A space of the promised network and its like: all far from published designs."""
    document = SMT.config.model_dump(mode="json")
    for stage, depth in zip(document["stages"], ([1], [4], [2], [2]), strict=True):
        stage["depth"] = depth
    for stage, dim in zip(document["stages"], ([96], [160], [192], [768]), strict=True):
        stage["dim"] = dim
    return SearchSpace(SpaceConfig.model_validate(document), "shallow")


@pytest.mark.parametrize("name", ["joint", "capacity", "predictor", "zero-cost"])
def test_what_estimates_accuracy_keeps_to_published_designs(name):
    assert choose_region(None, SMT, make(name)) == "published"
    assert choose_region("none", SMT, make(name)) == "none"


def test_formulas_small_images_and_a_function_of_ones_own_do_not():
    assert choose_region(None, SMT, None) == "none"
    assert choose_region(None, MICRO, make("joint", MICRO)) == "none"
    own = FunctionEvaluator(lambda arch: 1.0)
    assert choose_region(None, SMT, own) == "none"
    assert choose_region("published", SMT, own) == "published"


def test_nothing_was_published_of_small_images():
    with pytest.raises(ConfigError, match=r"--region published: .* 32 px .* Drop it\."):
        choose_region("published", MICRO, None)


def test_presets_lie_within_and_what_was_promised_before_does_not():
    for arch in PRESETS.values():
        design = place_design(arch)
        assert design.distance <= design.limit and len(design.nearest) == 3
    design = place_design(promised_before())
    assert design.distance > design.limit
    assert place_design(SMALL_PRESETS["smt_micro"]) is None


def test_a_problem_within_it_holds_its_networks_to_it():
    problem = Problem.of(SMT, ["2.4GMACs"], ["macs"]).within(load_region("published"))
    genes = SMT.sample(np.random.default_rng(0), 300)
    region = load_region("published")
    inside = region.measure_genes(SMT, genes) <= region.limit
    fits = problem.costs(genes)["macs"] <= 2.4e9
    assert (problem.feasible(genes) == (inside & fits)).all() and (inside & ~fits).any()
    assert str(problem.constraints[-1]) == "within the region of published designs"
    assert load_region("none") is None and problem.within(None) is problem


def test_a_space_that_lies_outside_as_a_whole_is_told_with_the_way_out(monkeypatch):
    monkeypatch.setattr("smt_nas.search.proposal.screen.POPULATION", 40)
    space = shallow_space()
    problem = Problem.of(space, ["3GMACs"], ["macs"])
    with pytest.raises(ConfigError, match=r"no network of space shallow .* --region none"):
        describe(problem.within(load_region("published")))
    assert describe(problem).share > 0
    unmet = Problem.of(space, ["0.1GMACs"], ["macs"]).within(load_region("published"))
    with pytest.raises(ConfigError, match="costs so little"):
        describe(unmet)


@pytest.fixture(scope="module")
def begun(tmp_path_factory, short_screening):  # noqa: F811
    """A search of the region, as a user begins one."""
    path = tmp_path_factory.mktemp("runs") / "run"
    search(path, region="published")
    return path


def search(path, listener=None, **more):
    settings = Settings(
        space="smt", budgets=("2.4GMACs",), evaluator="capacity",
        objectives=("accuracy", "macs"), n=2, verify=False, **more,
    )  # fmt: skip
    return create_search(settings, path, go_on=True, listener=listener).run()


class Says(NullSearchProgress):
    def __init__(self):
        self.lines = []

    def say(self, text):
        self.lines.append(text)


@pytest.mark.usefixtures("short_screening")
def test_a_run_goes_on_in_the_region_it_was_begun_in(begun, tmp_path):
    without = tmp_path / "without"
    search(without, region="none")
    for path, region in ((begun, "published"), (without, "none")):
        listener = Says()
        assert search(path, listener).settings.region == region
        assert "holds this very search already" in listener.lines[0]
    with pytest.raises(StoreError, match=r"holds a search with region published \(got none"):
        search(begun, region="none")


@pytest.mark.usefixtures("short_screening")
def test_a_run_of_before_there_was_a_region_goes_on_without_and_says_so(tmp_path):
    path, listener = tmp_path / "run", Says()
    search(path, region="none")
    file = path / "run.yaml"
    file.write_text(file.read_text().replace("  region: none\n", ""))
    outcome = resume_search(path, listener=listener).run()
    assert outcome.problem.region is None and len(outcome.front) >= 1
    assert "begun before searches kept to the region" in " ".join(listener.lines)
    search(path, quiet := Says())
    assert len(outcome.trials) == 2 and quiet.lines


@pytest.mark.usefixtures("short_screening")
def test_a_study_of_another_region_is_not_gone_on_with(begun, monkeypatch):
    monkeypatch.setitem(vars(load_region("published")), "limit", 3.0)
    with pytest.raises(StoreError, match=r"region published designs to 3\.7.* \(got .* to 3\.000"):
        resume_search(begun)
