"""Operators of many parts from a few traces: each as if it had been traced itself."""

from smt_nas import SearchSpace
from smt_nas.costs.parts import KINDS, Part, PartIndex
from smt_nas.devices.tables.part_traces import trace_parts
from smt_nas.devices.tables.recorded_traces import load_recorded, read_recorded
from smt_nas.files import names
from smt_nas.models import part_modules
from smt_nas.models.part_modules import trace_part

PARTS = PartIndex.of(SearchSpace.load("smt")).parts


def choose(kind, every):
    return tuple(part for part in PARTS if part.kind == kind)[::every]


def record_traced(monkeypatch):
    """The parts that are traced from now on."""
    traced = []

    def note(part, batch, channels_last):
        traced.append(part)
        return trace_part(part, batch, channels_last)

    monkeypatch.setattr(part_modules, "trace_part", note)
    return traced


def test_each_is_as_traced_itself():
    chosen = {p for kind in ("stem", "msa", "norm", "head") for p in choose(kind, 3)}
    chosen |= {*choose("sam", 41), *choose("ffn", 13), *choose("down", 17)}
    for batch, channels_last in ((1, False), (64, True)):
        traces = dict(zip(PARTS, trace_parts(PARTS, batch, channels_last), strict=True))
        for part in chosen:
            assert tuple(traces[part]) == tuple(trace_part(part, batch, channels_last)), part


def test_what_is_recorded_is_what_a_trace_gives_now():
    """Else run `python -m tools.part_traces`."""
    kinds = {kind: [p for p in load_recorded() if p.kind == kind] for kind in KINDS}
    chosen = [part for parts in kinds.values() for part in parts[:: len(parts) // 5]]
    for number, part in enumerate(chosen):
        batch = (1, 3, 16)[number % 3]
        assert tuple(read_recorded(part, batch)) == tuple(trace_part(part, batch)), part


def test_of_shipped_spaces_nothing_is_traced(monkeypatch):
    traced = record_traced(monkeypatch)
    for name in names("search_spaces"):
        trace_parts(PartIndex.of(SearchSpace.load(name)).parts, 5)
    assert traced == []


def test_three_widths_are_traced_of_seven(monkeypatch):
    traced = record_traced(monkeypatch)
    ffn = tuple(Part("ffn", (9, 9), dim, hidden=2 * dim) for dim in (8, 16, 24, 32, 48, 56, 64))
    trace_parts(ffn, 3)
    assert [part.dim for part in traced] == [8, 32, 64]


def test_where_a_width_runs_other_operators_all_are_traced():
    """A head of one channel is a depthwise convolution, a wider one is grouped."""
    sam = tuple(Part("sam", (7, 7), dim, kernels=(3, 5), expand=1) for dim in (2, 4, 6, 8, 10))
    for part, ops in zip(sam, trace_parts(sam, 5), strict=True):
        assert tuple(ops) == tuple(trace_part(part, 5))
