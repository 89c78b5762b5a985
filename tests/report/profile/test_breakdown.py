"""Where the time goes, as a table and on a page."""

from dataclasses import replace

from smt_nas.report.profile.breakdown import breakdown_notes, breakdown_table
from tests.fakes.profiles import breakdown
from tests.fakes.terminal import cells, printed


def test_pieces_have_their_share_and_add_up():
    table = breakdown_table(breakdown())
    assert printed(table).startswith("Where the time of net goes")
    *_, stage, head, network = cells(table)
    assert stage == ["stages.0", "3", "3.000", "75.0%", "3.000", "2.0", "compute"]
    assert head == ["head", "1", "1.000", "25.0%", "1.000", "4.0", "memory"]
    assert network == ["network", "4", "4.000", "100.0%", "4.000", "6.0", ""]


def test_a_piece_whose_time_is_not_known_is_a_dash():
    whole = breakdown()
    unknown = replace(whole, pieces=(replace(whole.pieces[0], ms=None), whole.pieces[1]))
    assert cells(breakdown_table(unknown))[-3][2:4] == ["-", "-"]


def test_the_note_says_how_the_times_were_had():
    assert "each operator timed alone" in breakdown_notes(breakdown())[0]
    predicted = replace(breakdown(), provenance="predicted")
    assert "predicted, by the roofline" in breakdown_notes(predicted)[0]
