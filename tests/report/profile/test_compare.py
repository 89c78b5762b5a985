"""Networks of one profile side by side, and saved profiles against each other."""

import pytest

from smt_nas.conditions import Conditions
from smt_nas.errors import ConfigError
from smt_nas.report.profile.compare import (
    comparison_table,
    match_pairs,
    pairs_document,
    pairs_notes,
    pairs_table,
)
from smt_nas.report.profile.document import Saved
from tests.fakes.profiles import (
    ENVIRONMENT,
    ONE_THREAD,
    counts,
    measured_profile,
    measurement,
    predicted_profile,
    predicted_row,
    row,
)
from tests.fakes.terminal import cells, printed


def saved(*measurements, path="a.json", **environment):
    return Saved(path, "Fake CPU", ENVIRONMENT | environment, measurements)


def test_each_network_stands_beside_the_first_with_a_verdict():
    profile = measured_profile(row("a", 2.0), row("b", 4.0))
    table = comparison_table(profile, ONE_THREAD, [counts("a"), counts("b", macs=None)])
    a, b = cells(table)[-2:]
    assert a[:4] == ["a", "1.50", "2.00", "2.000"] and "1.00x" in a
    assert b[2] == "-"  # nobody can count it
    assert "2.00x" in b and "SLOWER" in b


def test_predictions_have_no_verdict():
    profile = predicted_profile(predicted_row("a"), predicted_row("b", 4.0))
    line = printed(comparison_table(profile, Conditions(), [counts("a"), counts("b")]))
    assert "2.00x" in line and "predicted" in line and "SLOWER" not in line


def test_saved_profiles_are_matched_by_conditions_and_network():
    other = Conditions(batch=8, threads=1)
    a = saved(measurement("x"), measurement("y"), measurement("x", 9.0, other))
    b = saved(measurement("y", 4.0), measurement("x", 2.0))
    pairs = match_pairs(a, b)
    assert [(p.a.name, p.b.name) for p in pairs] == [("x", "x"), ("y", "y")]
    words = [row[-1] for row in cells(pairs_table(pairs)) if row[-1]]
    assert words == ["SAME", "SLOWER"]


def test_profiles_without_a_network_in_common_compare_all_with_all():
    (pair,) = match_pairs(saved(measurement("x")), saved(measurement("z")))
    assert (pair.a.name, pair.b.name) == ("x", "z")
    assert "z v x" in printed(pairs_table([pair]))


def test_no_conditions_in_common_is_an_error_with_both():
    other = Conditions(batch=8, threads=1)
    with pytest.raises(ConfigError, match=r"got b1 .* and b8 .*Profile both the same way"):
        match_pairs(saved(measurement()), saved(measurement(conditions=other), path="b.json"))


def test_what_differs_between_the_two_is_told_but_not_date_and_load():
    a = saved(measurement())
    b = saved(measurement(), path="b.json", torch="2.14.0", load=3.0, date="2026-02-02")
    pairs = match_pairs(a, b)
    lines = pairs_notes(a, b, pairs)
    assert "torch differs: 2.13.0 and 2.14.0." in lines
    assert not any("load" in line or "date" in line for line in lines)
    document = pairs_document(a, b, pairs)
    assert document["differences"] == {"torch": ["2.13.0", "2.14.0"]}
    assert document["second"] == {"path": "b.json", "device": "Fake CPU"}
    assert document["pairs"][0]["word"] == "SAME" and document["pairs"][0]["first_ms"] > 0
