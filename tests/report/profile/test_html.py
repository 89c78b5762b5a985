"""The page of a profile: whole, offline, and nobody's text is markup."""

import pytest

from smt_nas.conditions import Conditions
from smt_nas.errors import MeasurementError
from smt_nas.report.page import html_page
from smt_nas.report.profile.html import page
from tests.fakes.profiles import ENVIRONMENT, breakdown, failed_row, measured_profile, row


def test_a_page_holds_figures_verdicts_charts_and_the_environment():
    batches = [row("a", 2.0 * b, Conditions(threads=1, batch=b)) for b in (1, 2)]
    profile = measured_profile(*batches, row("b", 4.0), failed_row("c"))
    text = page(profile, [breakdown()], ENVIRONMENT)
    assert text.startswith("<!doctype html>") and text.endswith("</html>\n")
    for words in ("Who is faster", "SLOWER", "Roofline of net", "Batch curve", "Samples"):
        assert words in text
    facts = "<dt>torch</dt><dd>2.13.0</dd>" in text
    assert facts and "more memory" in text
    assert "<script src=" not in text and text.count('<figure class="plot"') == 3


def test_names_are_text_and_not_markup():
    text = page(measured_profile(row("<b>net</b>")), [], {"cpu": "<i>"})
    assert "<b>net</b>" not in text and "&lt;b&gt;net" in text and "&lt;i&gt;" in text
    charts = text.partition('<figure class="plot"')[2]  # plotly knows tags too
    assert "&lt;b" in charts and "\\u003cb>" not in charts


def test_one_network_at_one_batch_has_no_curve_and_no_verdicts():
    text = page(measured_profile(row()), [], ENVIRONMENT)
    assert "Batch curve" not in text and "Who is faster" not in text


def test_without_plotly_the_way_out_is_told(monkeypatch):
    monkeypatch.setattr(html_page, "find_spec", lambda name: None)
    with pytest.raises(MeasurementError, match=r"^page: plotly is not installed.*\[report\]"):
        page(measured_profile(row()), [], ENVIRONMENT)
