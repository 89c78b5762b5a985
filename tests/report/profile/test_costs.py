"""What a network costs by part, and who counts what."""

import pytest

from smt_nas import costs
from smt_nas.arch import PRESETS, SMALL_PRESETS
from smt_nas.report.profile.costs import cost_rows, costs_table, counter_notes, counter_table
from tests.fakes.profiles import counts
from tests.fakes.terminal import cells, printed

MICRO = SMALL_PRESETS["smt_micro"]


def test_rows_of_stages_and_of_blocks_add_up_to_the_network():
    whole = costs.of(MICRO)
    for by in ("stage", "block"):
        rows = cost_rows(MICRO, by)
        assert sum(r.macs for r in rows) == whole.macs
        assert sum(r.params for r in rows) == whole.params
    stages, blocks = cost_rows(MICRO, "stage"), cost_rows(MICRO, "block")
    assert len(stages) < len(blocks)
    assert any(" sam" in r.kind or " msa" in r.kind for r in stages)


def test_the_table_ends_with_the_whole_network():
    table = costs_table("smt_micro", MICRO, cost_rows(MICRO, "stage"))
    assert printed(table).startswith("smt_micro at 32x32: ")
    assert cells(table)[-1][0] == "network" and "100.0%" in cells(table)[-1]


def test_counters_stand_beside_torch_where_there_is_no_formula():
    text = printed(counter_table(counts()))
    assert "of torch's" in text and "smt-nas (formula)" not in text
    shares = {row[0].split()[0]: row[-1] for row in cells(counter_table(counts()))}
    assert shares == {"torch": "100.0%", "thop": "50.0%", "fvcore": "-"}


def test_notes_say_what_is_left_out_and_who_cannot_count():
    lines = counter_notes(counts())
    assert "thop leaves out matmul; adds 4 per element of norms." in lines
    assert lines[-1] == "fvcore cannot count it: RuntimeError: no trace"


def test_peak_memory_is_the_fronts_and_every_part_has_the_weights_of_all():
    arch = PRESETS["smt_t"]
    table = costs_table("smt_t", arch, cost_rows(arch, "stage"))
    text = printed(table)
    whole = costs.of(arch)
    peaks = [float(row[-1]) for row in cells(table) if row[-1]]
    assert max(peaks) == pytest.approx(whole.peak_memory_mb, abs=0.06)
    assert min(peaks) > whole.params * 4 / 1e6
    assert "peak MB: weights, and the most that activations hold at once" in text
