"""The front as a plot whose axes the reader chooses; the page's script draws it."""

from __future__ import annotations

import html
from collections.abc import Sequence

from smt_nas.report.page.elements import make_options
from smt_nas.report.search.axes import Axis


def make_front_figure(axes: Sequence[Axis]) -> str:
    """The choice of axes and the place of the plot.

    It begins with the first axis, which is the evaluator's, over the first cost beside it.
    """
    up, across = axes[0], next((a for a in axes[1:] if a.is_cost), axes[-1])
    named = [(a.name, f"{a.unit.heading} ({a.provenance})") for a in axes]
    choices = "".join(
        f'<label>{html.escape(text)} <select id="front-{side}">'
        f"{make_options(named, default.name)}</select></label>"
        for side, text, default in (("x", "across", across), ("y", "up", up))
    )
    return (
        f'<div class="controls">{choices}</div><figure class="plot" role="img" aria-label="The '
        'front as a plot; the table below holds its figures"><div id="front-plot"></div></figure>'
    )
