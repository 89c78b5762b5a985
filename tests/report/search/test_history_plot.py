"""How a search went, as a page and as a picture."""

import pytest

from smt_nas.evaluators import Evaluation
from smt_nas.report.search.history_plot import draw_history
from tests.fakes.searches import make_outcome, make_problem, make_trials, sample

BEGINS = {".html": b"<!doctype html>", ".png": b"\x89PNG"}


@pytest.mark.parametrize("suffix", BEGINS)
@pytest.mark.parametrize("n", [0, 30])
def test_it_is_drawn_of_any_number_of_trials(tmp_path, suffix, n):
    problem = make_problem("12MMACs", objectives=("score", "macs"))
    evaluations = [
        Evaluation(None, "function", failure="broke") if i % 5 == 0 else Evaluation(i, "function")
        for i in range(n)
    ]
    trials = make_trials(problem, sample(n), evaluations) if n else []
    file = tmp_path / f"history{suffix}"
    draw_history(make_outcome(problem, trials), file)
    assert file.read_bytes().startswith(BEGINS[suffix])
    if suffix == ".html" and n:
        assert "hypervolume so far" in file.read_text() and "over budget" in file.read_text()
