"""One HTML page of a profile: the figures, the roofline, the batch curve, the raw samples.

Everything is inside the file, plotly's JavaScript too, so it opens without a network.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from smt_nas.metrics import METRICS
from smt_nas.profilers.breakdown import Breakdown
from smt_nas.profilers.profile import Profile, ProfileRow
from smt_nas.profilers.reading import Reading
from smt_nas.report.page.elements import (
    Cell,
    Heading,
    Row,
    make_facts,
    make_list,
    make_plot,
    make_table,
)
from smt_nas.report.page.html_page import Page, Section
from smt_nas.report.profile.readings import notes, title

_COLUMNS = ("latency_ms", "throughput_ips", "peak_memory_mb", "energy_mj")
_OPS_PER_MAC = 2
_Plain = dict[str, Any]
_Chart = tuple[str, Sequence[_Plain], _Plain]  # its heading, and what plotly reads


def page(profile: Profile, breakdowns: Sequence[Breakdown], environment: dict[str, Any]) -> str:
    """The whole page as text.

    Raises:
        MeasurementError: plotly is not installed.
    """
    charts = [*_draw_rooflines(profile, breakdowns), *_draw_curves(profile)]
    charts += _draw_samples(profile)
    sections = [
        Section("figures", "Figures", _reading_table(profile.rows) + make_list(notes(profile)))
    ]
    if profile.comparisons:
        sections.append(Section("faster", "Who is faster", _comparison_table(profile)))
    sections += [
        Section(f"chart-{i}", heading, make_plot(heading, traces, layout))
        for i, (heading, traces, layout) in enumerate(charts)
    ]
    facts = {name: str(value) for name, value in environment.items()}
    sections.append(Section("environment", "Environment", make_facts(facts)))
    return Page(title(profile), "", sections, plots=True).to_html()


def _reading_table(rows: Sequence[ProfileRow]) -> str:
    headings = [
        *(Heading(text, is_number=False) for text in ("network", "conditions")),
        *(Heading(METRICS[name].heading) for name in _COLUMNS),
        *(Heading(text, is_number=False) for text in ("from", "status")),
    ]
    return make_table("What was measured", headings, [Row(_reading_cells(r)) for r in rows])


def _reading_cells(row: ProfileRow) -> list[Cell]:
    latency = row.readings.get("latency_ms")
    texts = [row.network, str(row.conditions)]
    texts += [_with_interval(row.readings.get(name)) for name in _COLUMNS]
    if latency is None:
        return [*map(Cell, texts), Cell(""), Cell(row.failure or "", is_marked=True)]
    status = Cell(latency.status, is_marked=latency.status != "ok")
    return [*map(Cell, texts), Cell(latency.provenance), status]


def _with_interval(figure: Reading | None) -> str:
    if figure is None or figure.value is None:
        return "-"
    if figure.low is None or figure.high is None:
        return f"{figure.value:.4g}"
    return f"{figure.value:.4g} ({figure.low:.4g} to {figure.high:.4g})"


def _comparison_table(profile: Profile) -> str:
    names = ("network", "compared with", "conditions", "time ratio", "95 % interval", "verdict")
    rows = (
        (
            c.other,
            c.base,
            str(c.conditions),
            f"{c.verdict.ratio:.3f}",
            f"{c.verdict.low:.3f} to {c.verdict.high:.3f}",
            c.verdict.word,
        )
        for c in profile.comparisons
    )
    headings = [Heading(name, is_number=name == "time ratio") for name in names]
    return make_table("Networks compared", headings, [Row([*map(Cell, row)]) for row in rows])


def _draw_rooflines(profile: Profile, breakdowns: Sequence[Breakdown]) -> Iterator[_Chart]:
    """Achieved TFLOPS of each piece over its arithmetic intensity, under the device's roof."""
    sheet = profile.device.sheet
    for b in breakdowns:
        pieces = [p for p in b.pieces if p.ms and p.macs and p.bytes]
        peak = sheet.peak(b.conditions.precision)
        if not pieces or peak is None:
            continue
        intensity = [_OPS_PER_MAC * p.macs / p.bytes for p in pieces]
        speed = [_OPS_PER_MAC * p.macs / p.ms / 1e9 for p in pieces if p.ms]
        ridge = peak * 1e3 / sheet.bandwidth_gbps
        ends = [min(*intensity, ridge) / 2, ridge, max(*intensity, ridge) * 2]
        roof = [min(peak, x * sheet.bandwidth_gbps / 1e3) for x in ends]
        names = [html.escape(f"{p.name} ({p.bound}, {p.ms:.3g} ms)") for p in pieces]
        share = [p.ms or 0.0 for p in pieces]
        sizes = [8 + 32 * (s / max(share)) ** 0.5 for s in share]
        traces: list[_Plain] = [
            {"type": "scatter", "x": ends, "y": roof, "mode": "lines", "name": "roof"},
            {
                "type": "scatter",
                "x": intensity,
                "y": speed,
                "mode": "markers",
                "name": f"{b.by} ({b.provenance})",
                "text": names,
                "hovertemplate": "%{text}<br>%{x:.3g} FLOP/byte, %{y:.3g} TFLOPS",
                "marker": {"size": sizes, "opacity": 0.7},
            },
        ]
        layout = {
            "xaxis": {"type": "log", "title": {"text": "arithmetic intensity, FLOP per byte"}},
            "yaxis": {"type": "log", "title": {"text": "TFLOPS (2 per multiply-accumulate)"}},
        }
        yield f"Roofline of {b.network}, {b.conditions}; area: time", traces, layout


def _draw_curves(profile: Profile) -> Iterator[_Chart]:
    """Images per second over the batch."""
    traces, points = list[_Plain](), 0
    for name, group in groupby(sorted(profile.rows, key=_curve_name), key=_curve_name):
        readings = [(r.conditions.batch, r.readings["throughput_ips"]) for r in group if r.readings]
        known = [(batch, f) for batch, f in readings if f.value is not None]
        points = max(points, len(known))
        ends = (
            [(f.high or f.value) - f.value for _, f in known if f.value],
            [f.value - (f.low or f.value) for _, f in known if f.value],
        )
        error = {"type": "data", "array": ends[0], "arrayminus": ends[1]}
        x, y = [batch for batch, _ in known], [f.value for _, f in known]
        curve = {"type": "scatter", "name": html.escape(name), "mode": "lines+markers"}
        traces.append({**curve, "x": x, "y": y, "error_y": error})
    if points > 1:
        layout = {
            "xaxis": {"type": "log", "title": {"text": "batch"}},
            "yaxis": {"title": {"text": "images per second"}, "rangemode": "tozero"},
        }
        yield "Batch curve", traces, layout


def _curve_name(row: ProfileRow) -> str:
    other = row.conditions.model_copy(update={"batch": 1})
    return f"{row.network} {str(other).removeprefix('b1 ')}"


def _draw_samples(profile: Profile) -> Iterator[_Chart]:
    """Every raw sample, in the order it was taken."""
    traces: list[_Plain] = [
        {
            "type": "scatter",
            "y": list(row.measurement.wall_ms),
            "mode": "markers",
            "name": html.escape(f"{row.network} {row.conditions}"),
        }
        for row in profile.rows
        if row.measurement is not None
    ]
    if traces:
        layout = {
            "xaxis": {"title": {"text": "sample"}},
            "yaxis": {"title": {"text": "wall time, ms"}, "type": "log"},
        }
        yield "Samples", traces, layout
