"""The front for papers: whole files, the same for the same front, and only of what there is."""

import pytest

from smt_nas.errors import ConfigError, UnknownName
from smt_nas.report.search.front_plot import draw_front
from tests.fakes.searches import make_outcome, make_problem, make_trials, sample


@pytest.fixture(scope="module")
def outcome():
    problem = make_problem("40MMACs", objectives=("score", "macs", "params"))
    return make_outcome(problem, make_trials(problem, sample(20)))


STARTS = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}


@pytest.mark.parametrize("kind", STARTS)
def test_the_same_front_gives_the_same_file(outcome, tmp_path, kind):
    files = [tmp_path / "a", tmp_path / "b"]
    for file in files:
        draw_front(outcome, file, kind, None, None)
    first, second = (file.read_bytes() for file in files)
    assert first == second and first.startswith(STARTS[kind]) and len(first) > 2_000


def test_axes_are_named_by_what_the_run_has(outcome, tmp_path):
    draw_front(outcome, tmp_path / "a.svg", "svg", "params", "macs")
    text = (tmp_path / "a.svg").read_text()
    for words in ("MMACs (exact)", "params (exact)", "smt_t", "presets"):
        assert text.count(words)
    with pytest.raises(UnknownName, match="figure of this run"):
        draw_front(outcome, tmp_path / "b.svg", "svg", "latency", None)
    assert not (tmp_path / "b.svg").exists()


def test_a_front_of_nothing_is_refused(outcome, tmp_path):
    empty = make_outcome(outcome.problem, [])
    with pytest.raises(ConfigError, match=r"must have a network on its front .* smt-nas resume"):
        draw_front(empty, tmp_path / "a.pdf", "pdf", None, None)
