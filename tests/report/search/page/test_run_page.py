"""What the pages of searches hold; `test_chromium` looks at them in a browser."""

import json
import re
import shutil

import pytest

from smt_nas.errors import ConfigError
from smt_nas.report.search.page import run_page
from smt_nas.report.search.page.compare_page import MOST, make_compare_page
from smt_nas.report.search.page.run_page import make_run_page
from smt_nas.search import Settings, create_search, resume_search
from tests.fakes.searches import make_outcome


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A search of formulas alone, ended."""
    path = tmp_path_factory.mktemp("runs") / "run"
    settings = Settings(
        space="smt_micro",
        objectives=("params", "macs", "peak_memory_mb", "activations"),
        budgets=("40MMACs",),
        evaluator=None,
        strategy="random",
        n=30,
        verify=False,
    )
    create_search(settings, path).run()
    return path


@pytest.fixture
def outcome(run):
    return resume_search(run, read_only=True).outcome()


def read_data(page):
    (text,) = re.findall(r'id="front-data">(.*?)</script>', page.to_html())
    return json.loads(text)


def test_every_member_and_preset_is_a_point_a_row_and_a_view(outcome):
    page = make_run_page(outcome)
    data, html = read_data(page), page.to_html()
    rows = re.findall(r'<tr class="member" data-name="(\d+)">', html)
    views = re.findall(r'<article class="network" id="network-(\d+)"', html)
    points = {group["kind"]: [p["name"] for p in group["points"]] for group in data["groups"]}
    names = [r.name for r in outcome.front]
    assert points["member"] == names and points["preset"] == ["smt_t", "smt_s", "smt_b", "smt_l"]
    assert len(points["tried"]) == len(outcome.trials) - len(names)
    assert rows == views == names
    assert {c["name"] for c in data["columns"]} >= {"params", "macs"}
    anchors = [section.anchor for section in page.sections]
    assert anchors[:3] == ["asked", "front", "networks"] and "latency" not in anchors
    assert anchors[-3:] == ["history", "environment", "commands"]


def test_a_point_holds_what_the_table_shows(outcome):
    (members,) = [g for g in read_data(make_run_page(outcome))["groups"] if g["kind"] == "member"]
    for point, r in zip(members["points"], outcome.front, strict=True):
        assert point["values"]["macs"] == pytest.approx(r.values["macs"], rel=1e-6)


def test_of_a_long_front_some_have_a_row_and_all_are_drawn(outcome, monkeypatch):
    monkeypatch.setattr(run_page, "_SHOWN", 2)
    page = make_run_page(outcome)
    html, size = page.to_html(), len(outcome.front)
    rows, is_told = html.count('<tr class="member"'), "networks, evenly chosen" in html
    assert 2 <= rows <= 3 < size and is_told
    (members,) = [g for g in read_data(page)["groups"] if g["kind"] == "member"]
    assert len(members["points"]) == size


def test_a_run_that_has_nothing_yet_has_a_page_too(outcome):
    problem = outcome.problem
    empty = make_outcome(problem, [], path=outcome.path, finished=False)
    page = make_run_page(empty)
    told = "Nothing is on the front yet. This run is not finished." in page.lead
    assert told and page.data is None
    assert "No network is on the front." in page.sections[1].body


def test_runs_beside_each_other_say_what_differs_and_who_has_more(run, outcome, tmp_path):
    path = tmp_path / "more"
    settings = outcome.settings.model_copy(update={"n": 90, "seed": 3})
    create_search(settings, path).run()
    other = resume_search(path, read_only=True).outcome()
    page = make_compare_page([outcome, other])
    html = page.to_html()
    assert page.title == "smt-nas: run beside more"
    rows = dict(re.findall(r"<tr><th scope=\"row\">(.*?)</th>(.*?)</tr>", html))
    assert re.findall("<td>(.*?)</td>", rows["seed"]) == ["0", "3"] and "space" not in rows
    tried, front, volume = re.findall("<td>(.*?)</td>", rows["run"])[:3]
    assert (tried, front) == ("30", str(len(outcome.front)))
    volumes = [float(volume), float(re.findall("<td>(.*?)</td>", rows["more"])[2])]
    assert min(volumes) > 0 and max(volumes) <= 1
    kinds = [group["kind"] for group in read_data(page)["groups"]]
    assert kinds == ["run-0", "run-1", "preset"]


def test_runs_of_the_same_name_are_told_by_their_paths(outcome, tmp_path):
    path = tmp_path / outcome.path.name
    shutil.copytree(outcome.path, path)
    page = make_compare_page([outcome, resume_search(path, read_only=True).outcome()])
    named = [str(outcome.path) in page.title, str(path) in page.title]
    assert named == [True, True]
    is_told = "Nothing: they were asked for the same" in page.to_html()
    assert is_told


def test_one_run_twice_is_refused(outcome):
    with pytest.raises(ConfigError, match=r"must be different runs \(got one twice\)"):
        make_compare_page([outcome, outcome])


@pytest.mark.parametrize("count", [1, MOST + 1])
def test_too_few_or_too_many_runs_are_refused(outcome, count):
    with pytest.raises(
        ConfigError, match=rf"--compare: must be from 2 to {MOST} runs \(got {count}\)"
    ):
        make_compare_page([outcome] * count)
