"""The page in a real browser: plots, tables and choices work, by mouse and by keyboard."""

import shutil

import pytest

from smt_nas.report.search.page.compare_page import make_compare_page
from smt_nas.report.search.page.run_page import make_run_page
from smt_nas.search import Settings, create_search, resume_search
from tests.fakes.chromium import open_chromium, open_page


@pytest.fixture(scope="module")
def browser():
    with open_chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "run"
    settings = Settings(
        space="smt_micro",
        objectives=("params", "macs"),
        budgets=("40MMACs",),
        evaluator=None,
        strategy="random",
        n=40,
        verify=False,
    )
    create_search(settings, path).run()
    return resume_search(path, read_only=True).outcome()


@pytest.fixture(scope="module")
def page_file(outcome, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(make_run_page(outcome).to_html(), encoding="utf-8")
    return path


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (400, "dark")])
def test_it_draws_fits_asks_for_nothing_and_complains_of_nothing(browser, page_file, width, scheme):
    with open_page(browser, page_file, width, scheme) as opened:
        opened.wait_for_plots()
        page = opened.page
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert ground == {"light": "rgb(255, 255, 255)", "dark": "rgb(13, 17, 23)"}[scheme]
        drawn = page.locator("#front-plot .scatterlayer .trace").count()
        assert drawn == 3  # tried, front, presets
    assert opened.said == [] and opened.asked == []


def test_a_row_is_chosen_by_keyboard_and_its_network_is_shown(browser, page_file, outcome):
    last = outcome.front[-1].name
    with open_page(browser, page_file) as opened:
        opened.wait_for_plots()
        page = opened.page
        assert page.locator("article.network:visible").count() == 1
        page.focus(f'tr[data-name="{last}"] button.pick')
        page.keyboard.press("Enter")
        shown = page.locator("article.network:visible")
        assert shown.get_attribute("id") == f"network-{last}"
        assert shown.locator("svg.network").count() == 2  # beside the preset
        assert page.locator("tr.chosen").get_attribute("data-name") == last
        assert page.input_value("#network-choice") == last
    assert opened.said == []


def test_a_click_in_the_plot_chooses_too(browser, page_file, outcome):
    with open_page(browser, page_file) as opened:
        opened.wait_for_plots()
        page = opened.page
        before = page.input_value("#network-choice")
        names = page.evaluate("document.getElementById('front-plot').data[1].customdata")
        at = names.index(next(name for name in names if name != before))
        page.evaluate(
            "at => { const place = document.getElementById('front-plot'); const data = "
            "place._fullData[1]; place.emit('plotly_click', { points: [{ fullData: data, "
            "customdata: place.data[1].customdata[at] }] }); }",
            at,
        )
        assert page.input_value("#network-choice") == names[at] != before


def test_axes_are_chosen(browser, page_file):
    with open_page(browser, page_file) as opened:
        opened.wait_for_plots()
        page = opened.page
        page.select_option("#front-y", "peak_memory_mb")
        title = "document.getElementById('front-plot').layout.yaxis.title.text"
        assert page.evaluate(title).startswith("peak ")


def read_column(page, column):
    cells = page.locator(f"#front tbody tr:visible > :nth-child({column})").all_inner_texts()
    return [cell.strip() for cell in cells]


def test_the_table_sorts_and_filters(browser, page_file, outcome):
    with open_page(browser, page_file) as opened:
        page = opened.page
        heading = page.locator("#front thead th", has_text="MACs").first
        column = 1 + page.locator("#front thead th").all_inner_texts().index(heading.inner_text())
        for direction in ("ascending", "descending"):
            heading.locator("button").click()
            assert heading.get_attribute("aria-sort") == direction
            figures = [float(text) for text in read_column(page, column)]
            assert figures == sorted(figures, reverse=direction == "descending")
        everything = len(figures)
        middle = sorted(figures)[everything // 2]
        page.fill("input[data-filters=front]", f"MACs<{middle}")
        left = [float(text) for text in read_column(page, column)]
        assert 0 < len(left) < everything and max(left) < middle
        assert page.locator("#front output").inner_text() == f"{len(left)} of {everything} rows"
        page.fill("input[data-filters=front]", "smt_t")
        assert read_column(page, 1) == ["smt_t"]
        page.fill("input[data-filters=front]", "")
        assert len(read_column(page, 1)) == everything
    assert opened.said == []


def test_without_scripts_all_is_there(browser, page_file, outcome):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(page_file.resolve().as_uri())
    assert page.locator("article.network:visible").count() == len(outcome.front)
    assert page.locator("#front tbody tr:visible").count() == len(outcome.front) + 4
    context.close()


def test_runs_beside_each_other_draw_too(browser, outcome, tmp_path):
    path, copy = tmp_path / "compare.html", tmp_path / "copy"
    shutil.copytree(outcome.path, copy)
    other = resume_search(copy, read_only=True).outcome()
    path.write_text(make_compare_page([outcome, other]).to_html(), encoding="utf-8")
    with open_page(browser, path, 400) as opened:
        opened.wait_for_plots()
        assert opened.page.locator("#front-plot .scatterlayer .trace").count() == 3
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= 400
    assert opened.said == [] and opened.asked == []
