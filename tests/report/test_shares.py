"""Shares, intervals and numbers as text; a dash where there is none."""

from smt_nas.report.shares import format_digits, interval, percent


def test_shares_are_percent_with_digits_and_unit():
    assert percent(0.91234) == "91.23"
    assert percent(0.91234, " %", 1) == "91.2 %"
    assert percent(None) == "-"


def test_an_interval_needs_both_ends():
    assert interval(0.9065, 0.9178) == "90.65 to 91.78"
    assert interval(None, 0.5) == interval(0.5, None) == "-"


def test_numbers_are_rounded():
    assert (format_digits(3.456), format_digits(3.456, 1), format_digits(None)) == ("3", "3.5", "-")
