"""One HTML page of a profile: the figures, the roofline, the batch curve, the raw samples.

Everything is inside the file, plotly's JavaScript too, so it opens without a network.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from types import ModuleType
from typing import Any

from smt_nas.metrics import METRICS
from smt_nas.profilers.breakdown import Breakdown
from smt_nas.profilers.profile import Profile, ProfileRow
from smt_nas.profilers.reading import Reading
from smt_nas.report.profile.readings import notes, title
from smt_nas.runtime.imports import import_optional

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem;
       color: #1b1f24; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
table { border-collapse: collapse; } td, th { padding: .25rem .75rem; text-align: right; }
td:first-child, th:first-child { text-align: left; } tr { border-bottom: 1px solid #d8dee4; }
td.ok { color: #1a7f37; } td.not { color: #9a6700; } ul, p.note { color: #57606a; }
pre { background: #f6f8fa; padding: .75rem; overflow-x: auto; }
"""
_COLUMNS = ("latency_ms", "throughput_ips", "peak_memory_mb", "energy_mj")
_OPS_PER_MAC = 2
_HEIGHT = 440


def page(profile: Profile, breakdowns: Sequence[Breakdown], environment: dict[str, Any]) -> str:
    """The whole page as text.

    Raises:
        MeasurementError: plotly is not installed.
    """
    plotly = _plotly()
    parts = [f"<h1>{html.escape(title(profile))}</h1>", _reading_table(profile.rows)]
    if profile.comparisons:
        parts += ["<h2>Who is faster</h2>", _comparison_table(profile)]
    parts += [f"<ul>{''.join(f'<li>{html.escape(n)}</li>' for n in notes(profile))}</ul>"]
    charts = [*_draw_rooflines(plotly, profile, breakdowns), *_draw_curves(plotly, profile)]
    charts += _draw_samples(plotly, profile)
    for i, (heading, figure) in enumerate(charts):
        script = "inline" if i == 0 else False  # plotly's JavaScript stands in the page once
        body = figure.to_html(full_html=False, include_plotlyjs=script, default_height=_HEIGHT)
        parts += [f"<h2>{html.escape(heading)}</h2>", body]
    stamp = "\n".join(f"{key}: {value}" for key, value in environment.items())
    parts += ["<h2>Environment</h2>", f"<pre>{html.escape(stamp)}</pre>"]
    head = f'<meta charset="utf-8"><title>smt-nas profile</title><style>{_STYLE}</style>'
    return f"<!doctype html>\n<html lang=en><head>{head}</head><body>{''.join(parts)}</body></html>"


def _plotly() -> ModuleType:
    way_out = "`pip install 'smt-nas[report]'`, or use --json."
    return import_optional("plotly.graph_objects", way_out, where="--html")


def _table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    top = "".join(f"<th>{html.escape(h)}</th>" for h in heading)
    body = "".join(f"<tr>{''.join(cells)}</tr>" for cells in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _reading_table(rows: Sequence[ProfileRow]) -> str:
    heading = ["network", "conditions", *(METRICS[n].heading for n in _COLUMNS), "from", "status"]
    return _table(heading, (_reading_cells(row) for row in rows))


def _reading_cells(row: ProfileRow) -> list[str]:
    latency = row.readings.get("latency_ms")
    cells = [_td(row.network), _td(str(row.conditions))]
    cells += [_td(_with_interval(row.readings.get(name))) for name in _COLUMNS]
    if latency is None:
        return [*cells, _td(""), _td(row.failure or "", "not")]
    good = "ok" if latency.status == "ok" else "not"
    return [*cells, _td(latency.provenance), _td(latency.status, good)]


def _td(text: str, kind: str = "") -> str:
    return f"<td class={kind or 'plain'}>{html.escape(text)}</td>"


def _with_interval(figure: Reading | None) -> str:
    if figure is None or figure.value is None:
        return "-"
    if figure.low is None or figure.high is None:
        return f"{figure.value:.4g}"
    return f"{figure.value:.4g} ({figure.low:.4g} to {figure.high:.4g})"


def _comparison_table(profile: Profile) -> str:
    heading = ("network", "compared with", "conditions", "time ratio", "95 % interval", "verdict")
    rows = (
        [
            _td(text)
            for text in (
                c.other,
                c.base,
                str(c.conditions),
                f"{c.verdict.ratio:.3f}",
                f"{c.verdict.low:.3f} to {c.verdict.high:.3f}",
                c.verdict.word,
            )
        ]
        for c in profile.comparisons
    )
    return _table(heading, rows)


def _draw_rooflines(
    plotly: ModuleType, profile: Profile, breakdowns: Sequence[Breakdown]
) -> Iterator[tuple[str, Any]]:
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
        figure = plotly.Figure(
            [
                plotly.Scatter(x=ends, y=roof, mode="lines", name="roof"),
                plotly.Scatter(
                    x=intensity,
                    y=speed,
                    mode="markers",
                    name=f"{b.by} ({b.provenance})",
                    text=names,
                    hovertemplate="%{text}<br>%{x:.3g} FLOP/byte, %{y:.3g} TFLOPS",
                    marker={"size": sizes, "opacity": 0.7},
                ),
            ]
        )
        figure.update_xaxes(type="log", title="arithmetic intensity, FLOP per byte")
        figure.update_yaxes(type="log", title="TFLOPS (2 per multiply-accumulate)")
        yield f"Roofline of {b.network}, {b.conditions}; area: time", figure


def _draw_curves(plotly: ModuleType, profile: Profile) -> Iterator[tuple[str, Any]]:
    """Images per second over the batch."""
    figure, points = plotly.Figure(), 0
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
        curve = {"name": html.escape(name), "mode": "lines+markers"}
        figure.add_trace(plotly.Scatter(x=x, y=y, error_y=error, **curve))
    if points > 1:
        figure.update_xaxes(type="log", title="batch")
        figure.update_yaxes(title="images per second", rangemode="tozero")
        yield "Batch curve", figure


def _curve_name(row: ProfileRow) -> str:
    other = row.conditions.model_copy(update={"batch": 1})
    return f"{row.network} {str(other).removeprefix('b1 ')}"


def _draw_samples(plotly: ModuleType, profile: Profile) -> Iterator[tuple[str, Any]]:
    """Every raw sample, in the order it was taken."""
    figure = plotly.Figure()
    for row in profile.rows:
        if row.measurement is not None:
            name = html.escape(f"{row.network} {row.conditions}")
            figure.add_trace(plotly.Scatter(y=row.measurement.wall_ms, mode="markers", name=name))
    if figure.data:
        figure.update_xaxes(title="sample")
        figure.update_yaxes(title="wall time, ms", type="log")
        yield "Samples", figure
