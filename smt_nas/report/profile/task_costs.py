"""What a detector or segmenter over an SMT costs, beside what is published of it."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from smt_nas.costs.heads import TaskCosts

PROTOCOLS = {
    "mask-rcnn": "the box head is counted on 1,000 proposals, the mask head on the first 100; "
    "RoIAlign and suppression cost nothing",
    "retinanet": "suppression costs nothing",
    "upernet": "the auxiliary head is counted in params, not in MACs",
}
"""By head: what else the published way to count is."""


def task_table(name: str, costs: TaskCosts) -> Group:
    """One network with its head: split, both protocols, the published figures, notes."""
    table = Table(show_edge=False, pad_edge=False)
    for heading in ("part", "of"):
        table.add_column(heading, no_wrap=True)
    for heading in ("Mparams", "GMACs", "of MACs"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in _rows(costs):
        table.add_row(*row)
    table.add_section()
    for row in _sums(costs):
        table.add_row(*row)
    return Group(Text(_title(name, costs)), table, *_notes(costs))


def _title(name: str, costs: TaskCosts) -> str:
    words = f"{name} with {costs.head.title}, {costs.config.classes} classes, at "
    text = words + _show_size(costs.input_size)
    if costs.padded_size != costs.input_size:
        text += f", padded to {_show_size(costs.padded_size)} as published"
    return f"{text}: {costs.macs / 1e9:.1f} GMACs ({2 * costs.macs / 1e9:.1f} GFLOP at 2 per MAC)"


def _rows(costs: TaskCosts) -> Iterator[tuple[str, ...]]:
    whole = costs.macs
    params, macs = costs.backbone_params, costs.backbone_macs
    yield "convolutions, linears", "backbone", _millions(params), *_shares(macs, whole)
    yield "attention products", "attention", "-", *_shares(costs.attention_macs, whole)
    for part in costs.parts:
        cells = ("-", "-") if part.training_macs else _shares(part.macs, whole)
        yield part.name, part.group, _millions(part.params), *cells


def _sums(costs: TaskCosts) -> Iterator[tuple[str, ...]]:
    params = _millions(costs.params)
    yield "all, without attention products", "", params, *_shares(costs.paper_macs, costs.macs)
    yield "all", "", params, *_shares(costs.macs, costs.macs)
    if costs.published is not None:
        paper = costs.published
        share = f"{paper.gflops * 1e9 / costs.macs:.1%}"
        yield f"published ({paper.source})", "", str(paper.params_m), str(paper.gflops), share


def _notes(costs: TaskCosts) -> Iterator[RenderableType]:
    paper, ours = costs.published, costs.paper_macs / 1e9
    protocol = PROTOCOLS[costs.head.name]
    lines = [f"Without attention products is the published way to count; {protocol}."]
    lines += [
        f"The {part.name} runs in training alone: {part.training_macs / 1e9:.2f} GMACs more."
        for part in costs.parts
        if part.training_macs
    ]
    if paper is not None:
        leaves, gap = costs.attention_macs / 1e9, ours / paper.gflops - 1
        lines.append(
            f"Published {paper.gflops} G leaves {leaves:.1f} G of attention out; counted so, ours "
            f"is {ours:.1f} G ({gap:+.1%})."
        )
        more = costs.params / 1e6 - paper.params_m
        if more > 1:
            lines.append(
                f"Published {paper.params_m} M params are {more:.1f} M fewer than the published "
                "code builds, as in other rows of this network; the MACs are of the code's."
            )
    lines.append("By formula. Norms, activations and resizing are not counted.")
    return map(Text, lines)


def _millions(count: int) -> str:
    return f"{count / 1e6:.2f}"


def _shares(macs: int, whole: int) -> tuple[str, str]:
    return f"{macs / 1e9:.1f}", f"{macs / whole:.1%}"


def _show_size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
