"""`smt-nas validate`: the table, the verdicts, the JSON, the plot; and refusals in one line."""

import json
from dataclasses import replace

import pytest

from smt_nas.evaluators import FunctionEvaluator
from smt_nas.evaluators.predictors.predictor import PredictorEvaluator
from smt_nas.evaluators.validation.family_validation import validate_families
from smt_nas.evaluators.validation.validate import validate
from smt_nas.report.family_validation import family_notes, family_table
from smt_nas.report.scatter import draw_scatter
from smt_nas.report.validation import validation_document, validation_notes, validation_table
from tests.fakes.benches import bench, by_size_and_kernels, rows, written
from tests.fakes.published import read_shipped, write_own
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


def test_a_long_name_is_cut_in_the_table_and_whole_below(found):
    name = "supernet:runs/supernet-smt_micro_supernet-digits"
    long = replace(found, rows=(replace(found.rows[0], name=name), *found.rows[1:]))
    table = printed(validation_table(long))
    assert "supernet:..pernet-digits" in table and name not in table
    assert any(name in line for line in validation_notes(long))


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
        (("validate", "zero-cost", "--on", "imagenet"), "Ask it on a bench: --on smt-bench-mini"),
        (("validate", "joint", "predictor", "--on", "imagenet"), "got predictor --on imagenet"),
        (("validate", "jonit", "--on", "imagenet"), "Did you mean 'joint'"),
        (("validate", "joint", "--on", "imagenet", "--plot", "x.png"), "--plot: is for a bench"),
        (("validate", "joint", "--on", "imagenet", "--workers", "2"), "--workers: is for a bench"),
        (("validate", "joint", "--on", "imagnet"), "imagenet"),
    ],
)
def test_refusals_are_one_line(words, said):
    result = invoke(*words, code=1)
    assert said in result.stderr and result.stderr.count("\n") == 1


def test_a_bench_with_too_few_networks_says_so(tmp_path):
    small = written(tmp_path / "b", rows(12))
    result = invoke("validate", "predictor", "--on", small, code=1)
    assert "networks to learn from" in result.stderr and result.stderr.count("\n") == 1


def test_published_networks_have_a_row_a_model_and_short_notes():
    result = invoke("validate", "joint", "--on", "imagenet")
    lines = result.stdout.splitlines()
    rows = {line.split("│")[0].strip(): line for line in lines if "│" in line}
    assert list(rows) == ["law alone", "costs alone", "joint"]
    assert "0.72 / 1.14" in rows["joint"] and "0.36 / 0.40" in rows["joint"]
    text = result.stdout
    assert "335 networks of 114 families; 95 hybrids of 22" in text
    assert "joint less costs alone: -0.038" in text and "mean over 22 families" in text
    assert text.count("better beyond doubt") == 2
    assert "Region of designs (410 architectures of 42 lines)" in text


def test_capacity_on_published_networks_is_the_law_alone():
    document = json.loads(invoke("validate", "capacity", "--on", "imagenet", "--json").stdout)
    assert [row["name"] for row in document["rows"]] == ["law alone"]
    assert document["joint_less"] == {} and document["region"] is None


def test_a_table_of_ones_own_is_told_in_full_by_json(tmp_path):
    path = write_own(tmp_path / "own.csv")
    document = json.loads(invoke("validate", "joint", "--on", path, "--json").stdout)
    assert document["published"] == str(path)
    joint = document["rows"][2]
    assert joint["members_known_error"]["hybrids"] > 0 and 0 < joint["coverage_80"]["all"] <= 1
    gap = document["joint_less"]["costs alone"]
    assert gap["low"] <= gap["mean"] <= gap["high"]
    assert 0.5 < document["region"]["inside"] <= 1


def test_a_table_of_ones_own_fits_80_columns_and_says_what_is_fitted_where(tmp_path):
    path = write_own(tmp_path / "own.csv", lambda f: f.assign(hybrid=0))
    validation = validate_families(["joint"], str(path), path)
    assert " - / " in printed(family_table(validation)).replace("\u2013", "-")
    assert "fitted to the shipped table" in family_notes(validation)[-1]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "cannot be read as a table of networks"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\xff\xfe", "cannot be read as a table of networks"),
        (b"a,b\n1,2\n", "must have a column model"),
        (None, "cannot be read as a table of networks"),
        ("nan", "gmacs must be above 0 and below 100,000 (in G or M) (got nan)"),
        ("twice", "stands there already"),
        ("alone", "each a family of its own"),
    ],
)
def test_a_bad_table_of_ones_own_is_refused_in_one_line(tmp_path, content, said):
    path = tmp_path / "own.csv"
    if content is None:
        path.mkdir()
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        frame = read_shipped()
        frame = {
            "nan": frame.assign(gmacs=frame.gmacs.where(frame.index != 7)),
            "twice": frame.iloc[[0, *range(len(frame))]],
            "alone": frame.assign(family=frame.model),
        }[content]
        frame.to_csv(path, index=False)
    result = invoke("validate", "joint", "--on", path, code=1)
    assert said in result.stderr and len(result.stderr.splitlines()) == 1
