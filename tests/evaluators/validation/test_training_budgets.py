"""What a bench says of depth, by the epochs of its trainings."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import linregress
from typer.testing import CliRunner

from smt_nas.arch import Architecture, Stage, Stem
from smt_nas.cli.app import app
from smt_nas.evaluators.validation.training_budgets import (
    fit_common_slope,
    report_budgets,
    settled_epochs,
)
from smt_nas.nasbench.rows import BenchRow
from tests.fakes.benches import written

RUNGS = (4, 6, 8, 10, 13, 16, 20, 28)


def make_arch(width, blocks):
    stage = Stage(dim=width, depth=1, attention_ratio=0, head_dim=width)
    deep = stage.model_copy(update={"depth": blocks - 3})
    return Architecture(
        image_size=32,
        num_classes=10,
        in_channels=3,
        stem=Stem(kernel=3, stride=2),
        stages=(stage, stage, deep, stage),
    )


def make_rows(effects, noise=0.05, ladders=(16, 32)):
    """Trainings of ladders, by epochs: points a doubling of depth."""
    rng, rows = np.random.default_rng(0), []
    for epochs, effect in effects.items():
        for width in ladders:
            for blocks in RUNGS:
                points = 60 + epochs + width / 8 + effect * np.log2(blocks / 8)
                share = float(points + noise * rng.standard_normal()) / 100
                figures = {"val_top1": share, "val_loss": 1.0, "seconds": 1.0}
                group = f"depth:published-{width}:{blocks}"
                arch = make_arch(width, blocks)
                rows.append(BenchRow(arch, group, 0, figures, "a CPU", "smt-nas 0", epochs))
    return rows


@pytest.fixture
def table(tmp_path):
    return lambda effects, **how: str(written(tmp_path / "b", make_rows(effects, **how)))


def test_the_slope_of_each_number_of_epochs_is_found_with_ladders_of_their_own_levels(table):
    reports = report_budgets(table({2: -0.8, 8: 0.5, 30: 0.6}))
    assert [r.epochs for r in reports] == [2, 8, 30]
    for report, effect in zip(reports, (-0.8, 0.5, 0.6), strict=True):
        assert report.effect.low < effect < report.effect.high
        assert (report.effect.ladders, report.effect.networks) == (2, 16)
    assert reports[0].change is None
    assert reports[1].change.value == pytest.approx(1.3, abs=0.1)
    assert [r.verdict for r in reports] == ["unknown", "changing", "settled"]
    assert settled_epochs(reports) == 30


def test_an_effect_that_noise_hides_is_not_called_settled(table):
    reports = report_budgets(table({2: 0.0, 8: 0.0}, noise=2.0))
    assert reports[1].verdict == "unknown" and settled_epochs(reports) is None


def test_an_effect_that_changes_again_later_has_not_settled(table):
    reports = report_budgets(table({2: 0.5, 8: 0.5, 30: 1.5}))
    assert [r.verdict for r in reports] == ["unknown", "settled", "changing"]
    assert settled_epochs(reports) is None


def test_budgets_without_a_network_in_common_have_no_tau(tmp_path):
    rows = [r for r in make_rows({2: 0.0, 8: 0.5}) if (r.epochs == 2) == ("-16:" in r.group)]
    reports = report_budgets(str(written(tmp_path / "b", rows)))
    assert reports[0].tau_to_longest.value is None
    assert reports[1].change.value is None and reports[1].verdict == "unknown"


def test_orders_that_turn_around_with_the_epochs_have_a_tau_below_zero(table):
    reports = report_budgets(table({2: -2.0, 8: 2.0}, noise=0.01, ladders=(16,)))
    assert reports[0].tau_to_longest.value < -0.9
    assert reports[1].tau_to_longest.value == pytest.approx(1)


def test_networks_of_one_number_of_epochs_alone_are_left_out_of_the_change(tmp_path):
    rows = make_rows({2: 0.0, 8: 0.5})
    few = [r for r in rows if r.epochs == 2 or "-16:" in r.group]
    reports = report_budgets(str(written(tmp_path / "b", few)))
    assert reports[1].change.networks == 8
    assert reports[0].effect.networks == 16


def test_networks_of_no_ladder_say_nothing(tmp_path):
    rows = [replace(row, group="band:0") for row in make_rows({2: 1.0})]
    (report,) = report_budgets(str(written(tmp_path / "b", rows)))
    assert report.effect.value is None and report.verdict == "unknown"


def test_the_slope_of_one_line_is_scipys():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 12))
    slope, theirs = fit_common_slope([(x, y)]), linregress(x, y)
    assert slope.value == pytest.approx(theirs.slope)
    assert (slope.high - slope.low) / 2 == pytest.approx(2.2281388519649385 * theirs.stderr)


@pytest.mark.parametrize("lines", [[], [([1, 2, 3], [1, 2, 3])], [([1] * 5, [1, 2, 3, 4, 5])]])
def test_too_few_networks_or_one_depth_have_no_slope(lines):
    assert fit_common_slope(lines).value is None


def test_the_command_says_from_which_epochs_a_bench_may_speak_of_depth(table):
    path = table({2: -0.8, 8: 0.5, 30: 0.6})
    shown = CliRunner().invoke(app, ["bench", "depth", path])
    assert shown.exit_code == 0 and "+0.6" in shown.output
    assert "may speak of depth from 30 epochs on" in " ".join(shown.output.split())
    document = json.loads(CliRunner().invoke(app, ["bench", "depth", path, "--json"]).stdout)
    assert document["settled_epochs"] == 30 and len(document["budgets"]) == 3


def test_the_command_says_that_a_bench_without_ladders_says_nothing():
    shown = CliRunner().invoke(app, ["bench", "depth", "smt-bench-mini"])
    assert shown.exit_code == 0
    assert "--plan depth" in " ".join(shown.output.split())
