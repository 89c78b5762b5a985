"""Searches by evaluators that foresee or train: what is tried, what is told of the figures."""

import csv
import json

import numpy as np
import pytest
import yaml

from smt_nas import search
from smt_nas.errors import ConfigError
from smt_nas.evaluators import published_agreement
from smt_nas.evaluators.predictors import features
from smt_nas.evaluators.predictors.predictor import PredictorEvaluator, fit_predictor
from smt_nas.evaluators.predictors.training_set import TrainingSet
from smt_nas.report.evidence import describe_evidence
from smt_nas.report.search.extrapolation import edge_notes
from smt_nas.report.search.front import as_document, front_notes, front_table
from smt_nas.search.proposal.strategy import History, Prior
from smt_nas.search.proposal.surrogate.surrogate_search import SurrogateNSGA2
from tests.fakes.benches import MICRO, bench
from tests.fakes.recipes import quick
from tests.fakes.screening import short_screening  # noqa: F401
from tests.fakes.terminal import invoke, printed

pytestmark = pytest.mark.usefixtures("short_screening")


ASKED = {"space": "smt_micro", "budgets": ("15MMACs",), "verify": False}


@pytest.fixture(scope="module")
def rater():
    known = TrainingSet.of(bench(160))
    return PredictorEvaluator(fit_predictor(known))


@pytest.fixture(scope="module")
def outcome(rater, tmp_path_factory):
    objectives = ("score", "macs", "params")
    settings = search.Settings(**ASKED, n=24, objectives=objectives)
    path = tmp_path_factory.mktemp("search") / "run"
    return search.create_search(settings, path, evaluator=rater).run()


class TestPrior:
    def test_nothing_is_tried_that_is_known_to_be_worse(self, outcome):
        assert len(outcome.front) >= len(outcome.trials) - 2

    def test_it_finds_more_than_chance(self, outcome, rater):
        pool = MICRO.sample(np.random.default_rng(0), 24)
        by_chance = rater.predict(MICRO, pool[outcome.problem.feasible(pool)]).mean
        assert outcome.front[0].values["score"] > by_chance.max()

    def test_a_guess_orders_the_first_round_and_is_corrected_later(self, outcome):
        problem = outcome.problem
        rng = np.random.default_rng(0)
        at = features.NAMES.index("log_params")

        def wrong(genes):  # the truth is the other way round
            return -features.of_genes(MICRO, genes)[:, at]

        strategy = SurrogateNSGA2(problem, Prior(wrong, is_final=False))
        empty = History(np.empty((0, len(MICRO.genes)), dtype=np.int64), [])
        first = strategy.propose(empty, 24, rng)
        assert problem.feasible(first).all() and len(first) == 24
        truth = -wrong(first)
        later = strategy.propose(History(first, list(truth)), 24, rng)
        assert (-wrong(later)).max() > truth.max()

    def test_a_stopped_search_goes_on_to_the_same_trials(self, outcome, rater, tmp_path):
        half = search.Settings(**ASKED, n=9, objectives=("score", "macs", "params"))
        search.create_search(half, tmp_path / "run", evaluator=rater).run()
        whole = search.resume_search(tmp_path / "run", n=24, evaluator=rater).run()
        assert [t.key for t in whole.trials] == [t.key for t in outcome.trials]


class TestWhatIsTold:
    def test_the_evaluators_metric_is_wanted_where_nothing_else_was_said(self, rater, tmp_path):
        found = search.create_search(
            search.Settings(**ASKED, n=2), tmp_path / "run", evaluator=rater
        )
        wanted = [q.metric.name for q in found.problem.objectives]
        assert wanted == ["score", "latency_ms", "macs", "params"]

    def test_evidence_is_kept_and_shown(self, outcome, rater):
        kept = yaml.safe_load((outcome.path / "run.yaml").read_text())["evidence"]
        assert kept["networks"] == 160 and kept["basis"] == "bench"
        words = describe_evidence(rater.evidence)
        assert any(x.startswith(words) for x in front_notes(outcome, False, evidence=True))
        again = search.resume_search(outcome.path, read_only=True).outcome()
        assert again.evidence == rater.evidence and as_document(again)["evidence"] == words

    def test_intervals_and_details_stand_in_the_table_and_the_document(self, outcome):
        with (outcome.path / "front.csv").open(newline="") as file:
            first = next(csv.DictReader(file))
        assert float(first["score_low"]) < float(first["score"]) < float(first["score_high"])
        assert float(first["evaluator_outside"]) >= 0
        document = as_document(outcome)["front"][0]
        assert document["intervals"]["score"]["low"] < document["values"]["score"]
        json.dumps(document, allow_nan=False)
        printed(front_table(outcome, False))

    def test_members_outside_the_evidence_are_named(self, outcome, monkeypatch):
        inside = {name: (-9.0, 9.0) for name in features.NAMES}
        monkeypatch.setattr(published_agreement, "feature_ranges", lambda: inside)
        assert not any("Outside the evidence" in n for n in front_notes(outcome, False))
        narrow = inside | {"log_depth": (-9.0, -0.2)}
        monkeypatch.setattr(published_agreement, "feature_ranges", lambda: narrow)
        notes = "\n".join(front_notes(outcome, False, evidence=True))
        assert "Outside the evidence" in notes
        assert "blocks against the published pattern, bench" in notes
        rows = as_document(outcome)["front"]
        leaving = [r["name"] for r in rows if r["outside"]]
        assert leaving and f"{len(leaving)} of {len(rows)} members" in notes

    def test_where_all_members_lie_at_an_edge_of_the_space_is_told(self, outcome):
        least = min(MICRO.config.stages[2].depth)
        members = [r for r in outcome.front if r.arch.stages[2].depth == least]
        others = [r for r in outcome.front if r.arch.stages[2].depth != least]
        many = (members * 5)[:5]
        assert members and others
        assert f"depth of stage 3 is {least} (of {least}.." in edge_notes(MICRO, many)[0].text
        assert not any("depth of stage 3" in n.text for n in edge_notes(MICRO, [*many, others[0]]))
        assert edge_notes(MICRO, many[:4]) == []

    def test_an_objective_that_the_evaluator_does_not_rate_is_refused(self, rater, tmp_path):
        settings = search.Settings(**ASKED, objectives=("top1_pct", "macs"))
        with pytest.raises(ConfigError, match="evaluator predictor rates score"):
            search.create_search(settings, tmp_path / "run", evaluator=rater)


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "quick.yaml"
    path.write_text(quick(epochs=3))
    return path


class TestShortTraining:
    """Candidates really trained, a few updates each."""

    COMMON = ("--space", "smt_micro", "--budget", "8MMACs", "--no-verify", "--workers", 1)
    OBJECTIVES = ("--objective", "val_top1", "--objective", "macs")

    @pytest.fixture(autouse=True)
    def guess(self, rater, monkeypatch):
        monkeypatch.setattr(
            "smt_nas.evaluators.predictors.predictor.shipped_predictor", lambda: rater.predictor
        )

    def test_from_the_command_line(self, recipe, tmp_path):
        run = tmp_path / "run"
        words = (*self.COMMON, *self.OBJECTIVES, "--data", "digits", "--recipe", recipe)
        document = json.loads(
            invoke("search", *words, "--epochs", 3, "--n", 6, "--out", run, "--json").stdout
        )
        assert document["trials"] == 6 and document["failed"] == 0
        assert document["stopped"] == 4 and 1 <= len(document["front"]) <= 2
        assert document["evidence"].startswith("short-train: val top-1 after 3 epochs on digits")
        assert all(r["provenance"]["val_top1"] == "trained" for r in document["front"])
        baselines = {b["name"]: b["values"] for b in document["baselines"]}
        assert "val_top1" in baselines["smt_t"] and "val_top1" not in baselines["smt_l"]
        kept = {p.name for p in (run / "trainings").iterdir() if p.is_dir()}
        assert len(kept) == 7

        text = invoke("front", run).stdout
        assert "4 of 6 trials stopped early, e.g.: stopped after 1 of 3 epochs" in text
        assert "failed" not in text
        more = json.loads(invoke("resume", run, "--n", 8, "--workers", 1, "--json").stdout)
        assert more["trials"] == 8
        assert kept < {p.name for p in (run / "trainings").iterdir() if p.is_dir()}

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (("--epochs", 3), "--epochs: is for evaluator short-train (got no --data). Add it."),
            (("--image-size", 64), "--image-size: is for evaluator short-train (got no --data)"),
            (
                ("--evaluator", "short-train"),
                "evaluator short-train: needs --data (got none). E.g. ",
            ),
            (
                ("--evaluator", "capacity", "--data", "digits"),
                "--data: is for evaluator short-train (got capacity). Drop one.",
            ),
            (
                ("--data", "digits", "--objective", "macs"),
                "--data: is for evaluator short-train, which is asked where an objective needs it",
            ),
            (
                ("--evaluator", "capacity", "--timeout", 5),
                "--timeout: is for zero-cost, supernet:RUN, or your own f",
            ),
            (
                ("--data", "digits", "--timeout", 5),
                "--timeout: is for zero-cost, supernet:RUN, or your own f",
            ),
            (
                ("--bench", "x", "--data", "digits"),
                "--data: is for evaluator short-train (got predic",
            ),
            (("--bench", "/nowhere"), "/nowhere/bench.csv: is no bench"),
            (("--evaluator", "joint", "--bench", "x"), "--bench: is for evaluator predictor (got"),
            (("--evaluator", "function"), "Or your own function, mypkg.mymod:fn"),
            (("--evaluator", "short-trian"), "Did you mean 'short-train'?"),
            (("--data", "digits", "--epochs", 0), "epochs must be"),
            (("--data", "/nowhere"), "/nowhere"),
            (("--data", "digits", "--recipe", "smal"), "No recipe named 'smal'"),
            (("--data", "digits", "--image-size", 16), "image_size must be"),
        ],
    )
    def test_refusals_are_one_line_and_leave_nothing(self, words, said, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        result = invoke("search", *self.COMMON, *words, code=1)
        assert said in result.stderr and result.stderr.strip().count("\n") <= 12
        assert not list(tmp_path.glob("runs/*"))
