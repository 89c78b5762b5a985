"""Pieces of pages: tables, commands, notes, facts, plots. Text comes in plain, and out escaped."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_PROVENANCES = {
    "exact": "counted by formula; torch's counter agrees on the built network",
    "measured": "timed on a device",
    "predicted": "estimated, with an interval",
    "proxy": "orders networks, and has no unit",
    "inherited": "of a network with the weights of a supernet",
    "trained": "of a network that was trained",
    "published": "told by papers",
    "function": "returned by the user's function",
}
"""What the marks of figures mean, by `smt_nas.metrics.Provenance`."""


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: as it is shown.
        value: what it is sorted by, where that is no text.
        title: what is said of it when it is pointed at.
        is_marked: stands out, as something is wrong with it.
    """

    text: str
    value: float | None = None
    title: str = ""
    is_marked: bool = False

    def to_html(self, tag: str = "td") -> str:
        """As an element."""
        sort = "" if self.value is None else f' data-value="{self.value:.10g}"'
        title = f' title="{html.escape(self.title)}"' if self.title else ""
        mark = ' class="marked"' if self.is_marked else ""
        scope = ' scope="row"' if tag == "th" else ""
        return f"<{tag}{scope}{sort}{title}{mark}>{html.escape(self.text)}</{tag}>"


@dataclass(frozen=True)
class Heading:
    """The heading of a column.

    Attributes:
        text: what stands in the column.
        provenance: where its figures come from, as `smt_nas.metrics.Provenance`; "" for none.
        is_number: its cells are numbers.
    """

    text: str
    provenance: str = ""
    is_number: bool = True


@dataclass(frozen=True)
class Row:
    """A row of a table: the first cell names it.

    Attributes:
        cells: as many as there are headings.
        name: what scripts know it by; "" for none.
        kind: a class of the row's looks, e.g. `preset`; "" for none.
    """

    cells: Sequence[Cell]
    name: str = ""
    kind: str = ""


def make_table(
    caption: str, headings: Sequence[Heading], rows: Iterable[Row], is_sortable: bool = False
) -> str:
    """A table in a box that scrolls sideways; sorted and filtered by the page's script if asked."""
    top = "".join(_heading_html(h, is_sortable) for h in headings)
    body = "".join(_row_html(row, is_sortable) for row in rows)
    kind = ' class="sortable"' if is_sortable else ""
    label = html.escape(caption)
    return (
        f'<div class="wide" role="region" aria-label="{label}" tabindex="0"><table{kind}>'
        f"<caption>{label}</caption><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _heading_html(h: Heading, is_sortable: bool) -> str:
    text = html.escape(h.text)
    mark = f" {mark_provenance(h.provenance)}" if h.provenance else ""
    inner = f'<button type="button">{text}</button>' if is_sortable else text
    kind = ' class="number"' if h.is_number else ""
    return f'<th scope="col"{kind}>{inner}{mark}</th>'


def _row_html(row: Row, is_sortable: bool) -> str:
    first, *rest = row.cells
    kind = f' class="{row.kind}"' if row.kind else ""
    name = f' data-name="{html.escape(row.name)}"' if row.name else ""
    head = first.to_html("th")
    if is_sortable and row.name:
        text = html.escape(first.text)
        head = f'<th scope="row"><button type="button" class="pick">{text}</button></th>'
    return f"<tr{kind}{name}>{head}{''.join(cell.to_html() for cell in rest)}</tr>"


def mark_provenance(provenance: str) -> str:
    """The mark that says where figures come from."""
    words = [word for word in provenance.replace(",", " ").split() if word in _PROVENANCES]
    return (
        " ".join(
            f'<span class="mark {word}" title="{html.escape(_PROVENANCES[word])}">{word}</span>'
            for word in words
        )
        or f'<span class="mark">{html.escape(provenance)}</span>'
    )


def make_filter(section: str) -> str:
    """A field that filters the table of a section, by its anchor."""
    return (
        '<div class="controls"><label>Filter <input type="search" '
        f'data-filters="{section}" placeholder="e.g. MACs&lt;1.5"></label>'
        "<span>words, or a heading with &lt; or &gt; and a number</span>"
        '<output aria-live="polite"></output></div>'
    )


def make_facts(facts: Mapping[str, str]) -> str:
    """Names and what they are."""
    pairs = "".join(
        f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>"
        for name, value in facts.items()
    )
    return f"<dl>{pairs}</dl>"


def make_commands(commands: Iterable[tuple[str, str]]) -> str:
    """Commands to run, each with what it does; a button copies one."""
    return "".join(
        f'<div class="command"><span>{html.escape(does)}</span><pre><code>{html.escape(line)}'
        '</code></pre><button type="button" class="copy">Copy</button></div>'
        for does, line in commands
    )


def make_list(lines: Iterable[str]) -> str:
    """Notes; nothing where there are none."""
    items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    return f"<ul>{items}</ul>" if items else ""


def make_paragraph(text: str) -> str:
    """A paragraph."""
    return f"<p>{html.escape(text)}</p>"


def make_plot(label: str, traces: Sequence[Mapping[str, Any]], layout: Mapping[str, Any]) -> str:
    """A plot that the page's script draws with plotly, in the colours of the page.

    Args:
        label: what it shows, for those who cannot see it.
        traces: of plotly, in plain values.
        layout: of plotly, in plain values.
    """
    figure = json.dumps(
        {"data": list(traces), "layout": dict(layout)}, allow_nan=False, separators=(",", ":")
    ).replace("<", "\\u003c")
    return (
        f'<figure class="plot" role="img" aria-label="{html.escape(label)}"><div></div>'
        f'<script type="application/json">{figure}</script></figure>'
    )


def make_options(options: Iterable[tuple[str, str]], chosen: str | None) -> str:
    """Options of a choice, each a value and its words; one of them chosen."""
    return "".join(
        f'<option value="{html.escape(value)}"{" selected" if value == chosen else ""}>'
        f"{html.escape(words)}</option>"
        for value, words in options
    )
