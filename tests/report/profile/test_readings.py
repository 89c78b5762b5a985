"""A profile's readings as a table, and the notes below it."""

import pytest

from smt_nas.conditions import Conditions
from smt_nas.profilers.reading import Reading
from smt_nas.profilers.throughput import Sweep
from smt_nas.report.profile.readings import (
    as_ms,
    as_number,
    half_width,
    notes,
    reading_table,
    title,
)
from tests.fakes.profiles import (
    failed_row,
    measured_profile,
    predicted_profile,
    predicted_row,
    row,
    with_status,
)
from tests.fakes.terminal import cells, printed


def test_measured_rows_show_threads_times_and_what_was_predicted():
    all_cores = Conditions(threads=None, batch=8)
    table = reading_table(measured_profile(row(), row(ms=40.0, conditions=all_cores)))
    first, second = cells(table)[-2:]
    assert first[:3] == ["1", "1", "2.000"] and second[:3] == ["8", "all", "40.00"]
    assert {"500", "12.5", "2.500", "ok"} <= set(first)
    assert "mJ" not in printed(table)  # no row has an energy


def test_a_failed_row_is_in_the_notes_and_not_in_the_table():
    profile = measured_profile(row(), failed_row("large"))
    assert len(cells(reading_table(profile))) == 1
    assert any(line.startswith("large") and "more memory" in line for line in notes(profile))


def test_predictions_show_their_interval_and_where_they_come_from():
    profile = predicted_profile(predicted_row(ms=10.0))
    last = cells(reading_table(profile))[-1]
    assert "8.000 to 12.50" in last and last[-1] == "predicted, sheet"
    assert title(profile).startswith("Predicted for Fake CPU, not measured")
    assert title(measured_profile(row())) == "Measured on Fake CPU (cpu)"


def test_notes_tell_what_spoke_against_a_figure_once():
    loaded = with_status(row(), "loaded", "others ran")
    lines = notes(measured_profile(loaded, loaded))
    assert sum("others ran." in line for line in lines) == 1
    assert sum("no counter." in line for line in lines) == 1
    assert any("n=30" in line and "stopped by ci" in line for line in lines)


def test_a_sweep_says_its_knee_and_how_the_largest_batch_was_found():
    profile = measured_profile(row())
    profile.sweeps.append(Sweep("net", "cpu", Conditions(), (), 64, "by estimate"))
    assert any("from batch - on; largest batch: 64 (by estimate)." in n for n in notes(profile))


@pytest.mark.parametrize(
    ("value", "shown"), [(None, "-"), (1.23456, "1.235"), (12.345, "12.35"), (123.45, "123.5")]
)
def test_milliseconds_have_four_digits_or_so(value, shown):
    assert as_ms(value) == shown


def test_numbers_and_intervals_without_a_value_are_dashes():
    assert as_number(None) == as_number(Reading(None, "measured")) == "-"
    assert as_number(Reading(1234.5, "measured")) == "1234"
    assert half_width(Reading(2.0, "measured")) == "-"
    assert half_width(Reading(2.0, "measured", low=1.9, high=2.1)) == "5.0%"
