"""`smt-nas validate`: the table, the verdicts, the JSON, the plot; and refusals in one line."""

import json

import pytest

from smt_nas.evaluators import FunctionEvaluator
from smt_nas.evaluators.predictors.predictor import PredictorEvaluator
from smt_nas.evaluators.validation.validate import validate
from smt_nas.report.scatter import draw_scatter
from smt_nas.report.validation import validation_document, validation_notes, validation_table
from tests.fakes.benches import bench, by_size_and_kernels, rows, written
from tests.fakes.terminal import invoke, printed

ORACLE = """
from tests.fakes.benches import by_size_and_kernels

def fn(arch):
    return by_size_and_kernels(arch)
"""


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return written(tmp_path_factory.mktemp("bench") / "mine", rows(100, seeds=3))


@pytest.fixture(scope="module")
def found():
    oracle = FunctionEvaluator(by_size_and_kernels, name="oracle")
    return validate([oracle, PredictorEvaluator()], bench(100, seeds=3))


def test_the_table_fits_and_says_who_is_better(found):
    lines = printed(validation_table(found)).splitlines()
    cells = [line.split("│") for line in lines if "│" in line]
    names = ["oracle", "predictor", "#params", "#MACs", "random"]
    assert [c[0].strip() for c in cells] == [*names, "seed to seed", "at best", *names]
    orders = {c[0].strip(): c for c in cells[:6]}
    assert orders["oracle"][3].endswith("+ ") and orders["random"][3].endswith("- ")
    assert all(len(c) == 5 for c in cells)


def test_the_notes_judge_every_figure_and_no_baseline(found):
    text = "\n".join(validation_notes(found))
    assert "oracle: at equal MACs better than #params (tau +" in text
    assert "random:" not in text and "held out, in 10 folds" in text
    for name in ("oracle", "predictor"):  # tau, recall of the best and regret: all three
        (line,) = [x for x in text.splitlines() if x.startswith(f"{name}: at equal MACs")]
        assert "as a pick of the best " in line and " beyond doubt (recall of the best 10 " in line
        assert "; regret " in line
    assert "On made-up: 100 networks" in text


def test_the_document_holds_figures_and_intervals(found):
    document = validation_document(found)
    json.dumps(document, allow_nan=False)
    first = document["rows"][0]
    tau = first["agreement"]["kendall"]
    assert tau["low"] < tau["value"] < tau["high"]
    assert len(first["figures"]) == len(document["top1"]) == len(document["keys"]) == 100
    assert document["rows"][1]["held_out"] and not first["held_out"]


@pytest.mark.parametrize("suffix", [".html", ".png"])
def test_the_plot_has_a_panel_an_evaluator(found, tmp_path, suffix):
    path = tmp_path / f"plot{suffix}"
    draw_scatter(found, path)
    content = path.read_bytes()
    if suffix == ".png":
        assert content.startswith(b"\x89PNG")
    else:
        assert b"oracle" in content and b"predictor, held out" in content


def test_from_the_command_line(table, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(ORACLE)
    monkeypatch.chdir(tmp_path)
    plot = tmp_path / "p.png"
    result = invoke("validate", "mine:fn", "--on", table, "--plot", plot, "--workers", 1)
    assert "mine:fn" in result.stdout and "#params" in result.stdout
    assert plot.stat().st_size > 1000
    document = json.loads(invoke("validate", "capacity", "--on", table, "--json").stdout)
    assert document["rows"][0]["name"] == "capacity"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("validate", "predicter"), "No evaluator named 'predicter'"),
        (("validate", "capacity", "--on", "nowhere"), "No bench named 'nowhere'"),
        (("validate", "capacity", "--on", "/nowhere/x.csv"), "is no bench"),
        (("validate", "capacity", "--plot", "x.pdf"), "must end in .html or .png"),
        (("validate", "nomodule:fn"), "must name a module"),
        (("validate", "capacity", "--timeout", "0"), "--timeout: must be seconds, more than 0"),
        (("validate", "capacity", "--timeout", "nan"), "--timeout: must be seconds, more than 0"),
        (("validate", "short-trian"), "Did you mean 'short-train'"),
    ],
)
def test_refusals_are_one_line(words, said):
    result = invoke(*words, code=1)
    assert said in result.stderr and result.stderr.count("\n") == 1


def test_a_bench_with_too_few_networks_says_so(tmp_path):
    small = written(tmp_path / "b", rows(12))
    result = invoke("validate", "predictor", "--on", small, code=1)
    assert "networks to learn from" in result.stderr and result.stderr.count("\n") == 1
