"""Operators of many parts from a few traces: each as if it had been traced itself."""

from smt_nas import SearchSpace
from smt_nas.costs.parts import Part, PartIndex
from smt_nas.models import part_traces
from smt_nas.models.part_modules import trace_part
from smt_nas.models.part_traces import trace_parts

PARTS = PartIndex.of(SearchSpace.load("smt")).parts


def choose(kind, every):
    return tuple(part for part in PARTS if part.kind == kind)[::every]


def test_each_is_as_traced_itself():
    chosen = {p for kind in ("stem", "msa", "norm", "head") for p in choose(kind, 3)}
    chosen |= {*choose("sam", 41), *choose("ffn", 13), *choose("down", 17)}
    for batch, channels_last in ((1, False), (64, True)):
        traces = dict(zip(PARTS, trace_parts(PARTS, batch, channels_last), strict=True))
        for part in chosen:
            assert tuple(traces[part]) == tuple(trace_part(part, batch, channels_last)), part


def test_three_widths_are_traced_of_seven(monkeypatch):
    traced = []

    def count(part, batch, channels_last):
        traced.append(part)
        return trace_part(part, batch, channels_last)

    monkeypatch.setattr(part_traces, "trace_part", count)
    ffn = tuple(Part("ffn", (7, 7), dim, hidden=2 * dim) for dim in (8, 16, 24, 32, 48, 56, 64))
    trace_parts(ffn, 3)
    assert [part.dim for part in traced] == [8, 32, 64]


def test_where_a_width_runs_other_operators_all_are_traced():
    """A head of one channel is a depthwise convolution, a wider one is grouped."""
    sam = tuple(Part("sam", (7, 7), dim, kernels=(3, 5), expand=1) for dim in (2, 4, 6, 8, 10))
    for part, ops in zip(sam, trace_parts(sam, 5), strict=True):
        assert tuple(ops) == tuple(trace_part(part, 5))
