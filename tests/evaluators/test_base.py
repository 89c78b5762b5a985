"""Evaluations are kept as plain values, and those of before typed fields are read."""

import pytest

from smt_nas.evaluators import Evaluation


def old(value, provenance, details=None, reason=None):
    """As studies of 0.1 hold one."""
    kept = {"value": value, "provenance": provenance, "details": details or {}}
    return Evaluation.from_record(kept | {"seconds": 0.5, "reason": reason})


def test_an_interval_and_what_stood_beside_it_are_told_apart():
    details = {"low": 1.0, "high": 3.0, "topology": 0.2, "outside": 0.7, "relative": 1.0}
    found = old(2.0, "predicted", details)
    assert found == Evaluation(
        2.0, "predicted", (1.0, 3.0), {"topology": 0.2}, 0.7, relative=True, seconds=0.5
    )
    assert found.to_columns() == {"topology": 0.2, "outside": 0.7, "relative": 1.0}


def test_what_a_function_returned_under_such_names_is_its_own():
    details = {"low": 1.0, "high": 3.0, "outside": 2.0}
    found = old(2.0, "function", details)
    assert (found.components, found.interval, found.extrapolation) == (details, None, None)


@pytest.mark.parametrize(
    ("reason", "stopped"), [("stopped after 1 of 3 epochs", True), ("diverged", False)]
)
def test_who_was_stopped_is_told_from_who_failed(reason, stopped):
    found = old(None, "trained", {"epochs": 1.0}, reason)
    assert (found.failure, found.stopped) == (reason, stopped)


def test_what_is_kept_now_is_read_as_it_was():
    for evaluation in (
        Evaluation(1.0, "predicted", (0.5, 1.5), {"a": 1.0}, 0.0, relative=True, seconds=2.0),
        Evaluation(None, "trained", failure="stopped after 1 of 3 epochs", stopped=True),
        Evaluation(None, "function", failure="stopped by a signal"),
    ):
        assert Evaluation.from_record(evaluation.to_record()) == evaluation
