"""The shipped bench is what its card says, and the evidence file is of this very bench."""

import csv
import json
from collections import Counter

import numpy as np
import pytest

from smt_nas import costs
from smt_nas.evaluators import (
    default_evaluator,
    make_evaluator,
    published_agreement,
    standalone_evaluators,
)
from smt_nas.evaluators.base import InputBound
from smt_nas.evaluators.predictors.features import NAMES, ranges
from smt_nas.evaluators.predictors.training_set import TrainingSet
from smt_nas.evaluators.validation.validate import validate
from smt_nas.files import folders, shipped
from smt_nas.nasbench.plan import plan_networks
from smt_nas.nasbench.rows import format_csv
from smt_nas.nasbench.table import load_bench
from smt_nas.report.evidence import describe_evidence
from smt_nas.space import SearchSpace
from smt_nas.train.recipe import load_recipe

NETWORKS = 200
SEEDED = 0.2  # of them have three seeds


@pytest.fixture(scope="module")
def bench():
    return load_bench(published_agreement.BENCH)


def test_what_is_read_is_written_back_byte_for_byte(bench):
    path = folders("nasbench")[0] / f"{published_agreement.BENCH}.csv"
    assert format_csv(bench.rows) == path.read_text("utf-8")


@pytest.fixture(scope="module")
def known(bench):
    return TrainingSet.of(bench)


@pytest.fixture(scope="module")
def judged(bench):
    found = validate([make_evaluator("predictor")], bench)
    return found, {row.name: row for row in found.rows}


def test_it_is_the_whole_plan(bench):
    card = bench.card
    planned, more = (
        plan_networks(
            SearchSpace.load(card.space),
            NETWORKS,
            card.plan["low_macs"],
            card.plan["high_macs"],
            int(card.plan["seed"]),
            trainings,
        )
        for trainings in (1, 2)
    )
    trained = {(row.arch.key, row.seed) for row in bench.rows}
    assert list(bench.networks) == [p.arch.key for p in planned]
    assert {(p.arch.key, seed) for p in planned for seed in p.seeds} <= trained
    assert trained <= {(p.arch.key, seed) for p in more for seed in p.seeds}
    assert Counter(map(len, bench.networks.values()))[3] == SEEDED * NETWORKS


def test_space_and_recipe_are_still_those(bench):
    assert SearchSpace.load(bench.card.space).digest == bench.card.space_digest
    words = {"description", "source"}
    now = load_recipe(bench.card.recipe_name).model_dump(mode="json", exclude=words)
    assert {k: v for k, v in bench.card.recipe.items() if k not in words} == now


def test_figures_are_plausible_and_none_stands_twice(bench):
    assert len({(r.arch.key, r.seed) for r in bench.rows}) == len(bench.rows)
    for row in bench.rows:
        assert 0.5 < row.figures["val_top1"] < 0.95
        assert abs(row.figures["val_top1"] - row.figures["test_top1"]) < 0.05
        assert row.figures["seconds"] > 5
    assert bench.card.limits and bench.card.licence


def test_costs_in_the_table_are_those_of_the_formulas():
    path = next(
        f / f"{published_agreement.BENCH}.csv"
        for f in folders("nasbench")
        if (f / f"{published_agreement.BENCH}.csv").is_file()
    )
    with path.open(newline="") as file:
        cells = {row["key"]: row for row in csv.DictReader(file)}
    rows = {r.arch.key: r.arch for r in load_bench(published_agreement.BENCH).rows}
    for key, arch in rows.items():
        found = costs.of(arch)
        assert (int(cells[key]["macs"]), int(cells[key]["params"])) == (found.macs, found.params)


def test_a_training_once_more_orders_networks_alike(judged):
    ceiling = judged[0].noise_ceiling
    assert ceiling.n >= SEEDED * NETWORKS
    evidence = json.loads((shipped("nasbench") / "smt-bench-mini.evidence.json").read_text())
    assert ceiling.kendall.value == pytest.approx(evidence["ceiling"], abs=1e-6)


def test_the_evidence_is_of_this_bench(known, judged):
    assert published_agreement.bench_networks() == len(known.archs)
    told = published_agreement.feature_ranges()
    for name, low, high in zip(NAMES, *ranges(known.features), strict=True):
        if name in told and np.isfinite(low):  # of a gene added since there is nothing to tell
            assert told[name] == pytest.approx((low, high), abs=1e-5)
    assert len(told) > 20
    for name in ("predictor", "#params", "#MACs"):
        row, told = judged[1][name], published_agreement.rank_agreement(name)
        assert told.tau == pytest.approx(row.agreement.kendall.value, abs=0.02)
        assert told.in_band == pytest.approx(row.agreement.in_band.value, abs=0.03)
        assert told.beats_params == row.beats_params


def test_every_evaluator_says_what_it_rests_on_for_small_images():
    micro = SearchSpace.load("smt_micro")
    for name in standalone_evaluators():
        assert published_agreement.rank_agreement(name) is not None
        evaluator = make_evaluator(name)
        bound = evaluator.for_space(micro) if isinstance(evaluator, InputBound) else evaluator
        text = describe_evidence(bound.evidence)
        assert text.startswith(name) and "\n" not in text
        known = published_agreement.rank_agreement(name)
        assert f"{known.tau:.2f}, {known.in_band:.2f} at equal MACs" in text
        assert f"recall of the best ten {known.top_recall:.2f}, regret {known.regret:.2f}" in text
        assert f"a pick of the best {'' if known.picks_better else 'no '}better" in text


def test_the_predictor_is_worth_having(judged):
    found = judged[1]["predictor"].agreement
    params = judged[1]["#params"].agreement
    assert found.kendall.value > params.kendall.value
    assert found.in_band.value > params.in_band.value


def test_the_default_was_not_clearly_beaten_by_what_needs_no_data():
    assert published_agreement.rank_agreement(default_evaluator()).leads
    assert not published_agreement.rank_agreement("zero-cost").leads
