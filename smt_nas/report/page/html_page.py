"""One self-contained HTML page: styles, scripts and plotly inside; it opens without a network."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from smt_nas.errors import MeasurementError

_PLOTLY = "package_data/plotly.min.js"
_NO_REQUESTS = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:"
)
"""What the browser holds the page to: nothing is asked of any other place. plotly saves pictures
by `data:` and `blob:`."""


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Attributes:
        anchor: its id, for links; unique on the page.
        heading: as plain text.
        body: as HTML.
    """

    anchor: str
    heading: str
    body: str


@dataclass(frozen=True)
class Page:
    """A page.

    Attributes:
        title: as plain text; the window's title and the first heading.
        lead: HTML below it, before the links to the sections.
        sections: in their order.
        plots: draws with plotly, whose JavaScript is then inside.
        data: what scripts read, by a name; of plain values.
    """

    title: str
    lead: str
    sections: Sequence[Section]
    plots: bool = False
    data: dict[str, Any] | None = None

    def to_html(self) -> str:
        """The whole page as text.

        Raises:
            MeasurementError: it has plots and plotly is not installed.
        """
        links = "".join(
            f'<a href="#{s.anchor}">{html.escape(s.heading)}</a>' for s in self.sections
        )
        sections = "".join(
            f'<section id="{s.anchor}" aria-labelledby="{s.anchor}-h">'
            f'<h2 id="{s.anchor}-h">{html.escape(s.heading)}</h2>{s.body}</section>'
            for s in self.sections
        )
        scripts = [_script(read_plotly())] if self.plots else []
        scripts.append(_script(_read_asset("page.js")))
        title = html.escape(self.title)
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            f'<meta http-equiv="Content-Security-Policy" content="{_NO_REQUESTS}">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            '<meta name="color-scheme" content="light dark">'
            f'<title>{title}</title><link rel="icon" href="data:,">'
            f"<style>{_read_asset('page.css')}</style></head><body>"
            f'<a class="skip" href="#content">Skip to the content</a>'
            f'<header><h1>{title}</h1>{self.lead}<nav aria-label="Sections">{links}</nav></header>'
            f'<main id="content">{sections}</main>'
            f"{''.join(embed_json(name, value) for name, value in (self.data or {}).items())}"
            f"{''.join(scripts)}</body></html>\n"
        )


def embed_json(name: str, value: Any) -> str:
    """Plain values for scripts, by the id of an element; nothing in them ends the element."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return f'<script type="application/json" id="{name}">{text}</script>'


def read_plotly() -> str:
    """plotly's JavaScript. Raises MeasurementError where plotly is not installed."""
    spec = find_spec("plotly")
    if spec is None or spec.origin is None:
        raise MeasurementError(
            "page: plotly is not installed (got none). `pip install 'smt-nas[report]'`."
        )
    return (Path(spec.origin).parent / _PLOTLY).read_text(encoding="utf-8")


def can_plot() -> bool:
    """Whether pages with plots can be made here."""
    return find_spec("plotly") is not None


def _script(text: str) -> str:
    inner = text.replace("</script", "<\\/script")
    return f"<script>{inner}</script>"


def _read_asset(name: str) -> str:
    return resources.files(__package__).joinpath("assets", name).read_text(encoding="utf-8")
