"""Errors: one tree, and names that come with a hint."""

import pytest

from smt_nas import errors
from smt_nas.errors import SmtNasError, UnknownName, did_you_mean, one_line
from smt_nas.metrics import METRICS, metric

TREE = {
    "ConfigError": "SmtNasError",
    "UnknownName": "ConfigError",
    "SpaceError": "SmtNasError",
    "MeasurementError": "SmtNasError",
    "StoreError": "SmtNasError",
    "TrainingError": "SmtNasError",
    "ExportError": "SmtNasError",
    "SmtNasError": "Exception",
}


def test_the_tree_is_the_one_drawn():
    classes = {n: c for n, c in vars(errors).items() if isinstance(c, type) and "smt_nas" in str(c)}
    assert {name: kind.__mro__[1].__name__ for name, kind in classes.items()} == TREE
    assert all(name in errors.__doc__ for name in TREE)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("smt_tt", "Did you mean 'smt_t'?"),
        ("SMT_T", "Did you mean 'smt_t'?"),
        ("gflops", "Did you mean 'GFLOPs'?"),
        ("entirely different", ""),
        ("", ""),
    ],
)
def test_hint(name, hint):
    assert did_you_mean(name, ["smt_t", "GFLOPs"]) == hint


def test_hint_among_nothing():
    assert did_you_mean("smt_t", []) == ""


def test_unknown_name_says_what_there_is():
    error = UnknownName("search space", "smt_tny", ["smt_tiny", "smt"], "A path works too.")
    assert str(error) == (
        "No search space named 'smt_tny'. Known: smt, smt_tiny. A path works too. "
        "Did you mean 'smt_tiny'?"
    )
    assert isinstance(error, SmtNasError)


def test_unknown_name_without_hint_or_way_out():
    assert str(UnknownName("metric", "zzz", {"macs": 1})) == "No metric named 'zzz'. Known: macs."


def test_metrics_are_found_by_name_and_shown_in_the_unit_of_their_heading():
    assert all(METRICS[name] is metric(name) and name == metric(name).name for name in METRICS)
    assert metric("macs").show(2_461_268_480) == "2.461"
    assert metric("latency_ms").show(None) == "-"
    assert metric("latency") is METRICS["latency_ms"]  # the unit may be left out
    with pytest.raises(UnknownName, match="Did you mean 'latency_ms'"):
        metric("latencyms")


def test_an_exception_in_one_line():
    assert one_line(ValueError("a\n  b")) == "ValueError: a b"
    assert one_line(KeyError()) == "KeyError"
    long = one_line(RuntimeError("x" * 999))
    assert len(long) <= 220
    assert long.endswith("...")
