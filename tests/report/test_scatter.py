"""Predicted against trained, drawn as a page or as a picture."""

import sys
from dataclasses import replace

import pytest

from smt_nas.errors import ConfigError, MeasurementError, StoreError
from smt_nas.evaluators import FunctionEvaluator
from smt_nas.evaluators.validation.validate import validate
from smt_nas.report.plot_files import check_drawable
from smt_nas.report.scatter import draw_scatter
from tests.fakes.benches import bench, by_size_and_kernels


@pytest.fixture(scope="module")
def validation():
    return validate([FunctionEvaluator(by_size_and_kernels, name="oracle")], bench(40, seeds=1))


def test_a_page_holds_every_network_and_its_colours(validation, tmp_path):
    draw_scatter(validation, tmp_path / "plot.html")
    page = (tmp_path / "plot.html").read_text()
    assert "Predicted against trained, made-up" in page and "oracle: tau " in page
    assert all(arch.key in page for arch in validation.training_set.archs)
    assert "#params" not in page  # baselines have no panel


def test_names_are_text_and_not_tags_of_a_page(validation, tmp_path):
    named = replace(
        validation,
        bench=replace(validation.bench, name="<b>mine</b>"),
        rows=[replace(row, name=row.name.replace("oracle", "<i>fn")) for row in validation.rows],
    )
    draw_scatter(named, tmp_path / "plot.html")
    drawn = (tmp_path / "plot.html").read_text().rpartition("Plotly.newPlot")[2]
    assert "&lt;b&gt;mine" in drawn and "&lt;i&gt;fn" in drawn
    assert "\\u003cb\\u003e" not in drawn and "\\u003ci\\u003e" not in drawn


def test_a_picture_is_a_png(validation, tmp_path):
    draw_scatter(validation, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_what_could_not_be_drawn_is_refused_before_long_work(tmp_path, monkeypatch):
    check_drawable(None)
    check_drawable(tmp_path / "plot.html")
    with pytest.raises(ConfigError, match=r"must end in \.html or \.png"):
        check_drawable(tmp_path / "plot.pdf")
    with pytest.raises(StoreError):
        check_drawable(tmp_path / "nowhere" / "plot.png")
    monkeypatch.setitem(sys.modules, "plotly.graph_objects", None)
    with pytest.raises(MeasurementError, match="plotly must be installed"):
        check_drawable(tmp_path / "plot.html")
