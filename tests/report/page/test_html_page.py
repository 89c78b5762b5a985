"""Pages are whole, escaped, and ask nothing of any other place."""

import json
import re
from html.parser import HTMLParser

import pytest

from smt_nas.errors import MeasurementError
from smt_nas.report.page import html_page
from smt_nas.report.page.elements import (
    Cell,
    Heading,
    Row,
    make_commands,
    make_facts,
    make_list,
    make_plot,
    make_table,
)
from smt_nas.report.page.html_page import Page, Section, can_plot, embed_json, read_plotly

EVIL = '</script><script>alert("1")</script><b>&'


class Tags(HTMLParser):
    """The tags of a page, and whether each that is opened is closed."""

    VOID = frozenset({"meta", "link", "input"})

    def __init__(self):
        super().__init__()
        self.open, self.seen = [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag


def read_tags(text):
    parser = Tags()
    parser.feed(text)
    parser.close()
    assert parser.open == []
    return parser.seen


def test_text_that_looks_like_html_stays_text():
    body = (
        make_table(EVIL, [Heading(EVIL, EVIL)], [Row([Cell(EVIL, title=EVIL)], name=EVIL)])
        + make_commands([(EVIL, EVIL)])
        + make_facts({EVIL: EVIL})
        + make_list([EVIL])
    )
    page = Page(EVIL, "", [Section("a", EVIL, body)], data={"values": {EVIL: EVIL}})
    text = page.to_html()
    seen = read_tags(text)
    assert seen.count("script") == 2 and "b" not in seen  # the data and the page's own
    (data,) = re.findall(r'<script type="application/json" id="values">(.*?)</script>', text)
    assert json.loads(data) == {EVIL: EVIL}


def test_what_cannot_be_read_back_is_refused():
    with pytest.raises(ValueError, match="JSON"):
        embed_json("x", {"value": float("nan")})


def test_a_page_holds_its_scripts_and_names_no_other_place():
    plot = make_plot("a plot", [{"type": "scatter", "x": [1], "y": [2]}], {})
    text = Page("t", "", [Section("p", "Plot", plot)], plots=True).to_html()
    assert "default-src 'none'" in text and len(text) < 6e6
    own = text.replace(read_plotly().replace("</script", "<\\/script"), "")
    places = re.findall(r'(?:src|href)="([^"]*)"', own)
    assert places == ["data:,", "#content", "#p"] and own.count("://") == 0
    without = len(Page("t", "", []).to_html())
    assert without < 50_000  # no plots, no plotly


def test_without_plotly_a_page_with_plots_is_refused_in_one_line(monkeypatch):
    monkeypatch.setattr(html_page, "find_spec", lambda name: None)
    assert not can_plot()
    with pytest.raises(MeasurementError, match=r"page: plotly is not installed .* `pip install"):
        Page("t", "", [], plots=True).to_html()
    assert Page("t", "", []).to_html().startswith("<!doctype html>")
