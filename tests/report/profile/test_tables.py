"""What `profile` shows, in its order."""

from rich.console import Console

from smt_nas.arch import SMALL_PRESETS
from smt_nas.report.profile.costs import NetworkCounts, cost_rows
from smt_nas.report.profile.tables import tables
from tests.fakes.profiles import breakdown, counts, measured_profile, row


def text_of(items):
    console = Console(width=160, color_system=None)
    with console.capture() as captured:
        for item in items:
            console.print(item)
    return captured.get()


def test_one_network_shows_costs_then_counters_then_figures_then_notes():
    arch, plain = SMALL_PRESETS["smt_micro"], counts("net", SMALL_PRESETS["smt_micro"])
    counted = NetworkCounts(plain.network, 1, 2, cost_rows(arch, "stage"), plain.counts)
    text = text_of(tables(measured_profile(row()), [counted], [breakdown()]))
    order = ["net at 32x32", "smt-nas (formula)", "Measured on", "Where the time of net", "n=30"]
    places = [text.index(words) for words in order]
    assert places == sorted(places)


def test_several_networks_are_compared_and_their_costs_left_out():
    profile = measured_profile(row("a"), row("b", 4.0))
    text = text_of(tables(profile, [counts("a"), counts("b")], []))
    assert "verdict" in text and "SLOWER" in text and "smt-nas (formula)" not in text
    assert "paired bootstrap" in text
