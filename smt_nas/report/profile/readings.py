"""A profile's figures as a table, and what must be known of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table

from smt_nas.devices.registry import locate
from smt_nas.metrics import METRICS, PEAK_MEMORY
from smt_nas.profilers.profile import Profile, ProfileRow
from smt_nas.profilers.reading import Reading

DASH = "-"
_BOUND = {"host": "host", "device": "GPU"}  # 80 columns hold no longer word


def reading_table(profile: Profile) -> Table:
    """The figures of one network, a row for each set of conditions."""
    rows = [r for r in profile.rows if r.readings]
    if profile.where is None:
        return _predicted_table(rows, cpu=profile.device.sheet.kind == "cpu")
    return _measured_table(profile.where, rows)


def title(profile: Profile) -> str:
    """What the figures are of, and whether they were measured."""
    sheet = profile.device.sheet
    if profile.where is None:
        is_here = locate(sheet) is not None
        why = "torch cannot use this machine's" if is_here else "this machine has none"
        return (
            f"Predicted for {sheet.name}, not measured: {why}. "
            "80 % of truths should lie in the interval."
        )
    return f"Measured on {sheet.name} ({profile.where})"


def notes(profile: Profile) -> list[str]:
    """What a reader must know of the figures, one line each, none twice."""
    return list(dict.fromkeys(_notes(profile)))


def _notes(profile: Profile) -> Iterator[str]:
    for row in profile.rows:
        who = f"{row.network} {row.conditions}"
        if row.failure:
            yield f"{who}: {row.failure}"
        if row.runtime:
            yield f"{row.network}: run by {row.runtime}; the form means nothing to it."
        m = row.measurement
        if m is not None:
            compiled = "" if m.compile_ms is None else f", compiling {m.compile_ms / 1e3:.1f} s"
            steady = "" if m.steady else "; not steady after its warm-up"
            yield (
                f"{who}: n={m.wall.n}, min {as_ms(m.wall.min_ms)}, IQR {as_ms(m.wall.iqr_ms)} ms, "
                f"{m.wall.outliers} outliers, stopped by {m.stopped_by}{steady}; first call "
                f"{as_ms(m.first_call_ms)} ms{compiled}."
            )
            if m.launch_bound and row.conditions.mode != "graph":
                yield f"{who}: bound by the host, the GPU waits for it. Try --form graph."
        for name, figure in row.readings.items():
            if figure.value is None and (
                figure.provenance == "predicted" or name == "reserved_memory_mb"
            ):
                continue  # the title says that only latency is predicted; a CPU reserves nothing
            if figure.reason and figure.value is None:
                yield f"{METRICS[name].heading}: {figure.reason}."
            elif figure.reason and name != "throughput_ips":  # it is the latency's
                of_device = figure.reason == "; ".join(profile.device.sheet.warnings)
                yield f"{profile.device.sheet.name if of_device else who}: {figure.reason}."
        if m is not None and row.predicted is not None and row.predicted.value is None:
            yield f"pred. ms: {row.predicted.reason}"
    if any(_known(row.readings.get("peak_memory_mb")) for row in profile.rows):
        yield f"peak MB: {PEAK_MEMORY}; measured here, with what kernels copy."
    yield from _host_notes(profile)
    for s in profile.sweeps:
        largest = "not found" if s.largest is None else str(s.largest)
        reason = f" ({s.largest_reason})" if s.largest_reason else ""
        yield (
            f"{s.network}, {s.conditions}: 95 % of the best throughput from batch {s.knee or DASH} "
            f"on; largest batch: {largest}{reason}."
        )
    if profile.comparisons:
        yield (
            "Verdicts are of the interleaved runs above, by a paired bootstrap of the ratio of "
            "medians; UNCLEAR: more runs are needed to tell."
        )
    for c in profile.comparisons:
        if c.verdict.reason:
            yield f"{c.other} v {c.base}, {c.conditions}: {c.verdict.word}, {c.verdict.reason}."


def _host_notes(profile: Profile) -> Iterator[str]:
    """What a prediction that is bound by the host assumes, and what a CUDA graph saves."""
    predicted = [r for r in profile.rows if r.readings and r.measurement is None]
    waiting = [r for r in predicted if r.readings["latency_ms"].bound == "host"]
    host = profile.device.host
    if not waiting or host is None or profile.where is not None:
        return
    yield (
        f"Bound by the host: it submits operators slower than the GPU runs them. Taken as "
        f"{host.host_class.name}, which is most of the doubt; a larger batch waits less."
    )
    rows = {(r.network, r.conditions): r.readings["latency_ms"].value for r in predicted}
    for row in waiting:
        eager = row.readings["latency_ms"].value
        graph = rows.get((row.network, row.conditions.model_copy(update={"mode": "graph"})))
        if graph is not None and eager is not None and row.conditions.mode == "eager":
            yield (
                f"{row.network} {row.conditions}: {as_ms(eager)} ms bound by the host, "
                f"{as_ms(graph)} ms as a CUDA graph (--form graph)."
            )


def _measured_table(where: str, rows: Sequence[ProfileRow]) -> Table:
    cpu = where == "cpu"
    energy = any(r.readings["energy_mj"].value for r in rows if "energy_mj" in r.readings)
    padding = (0, 0) if energy else (0, 1)  # 80 columns hold one more then
    table = Table(show_edge=False, pad_edge=False, collapse_padding=True, padding=padding)
    headings = ["batch", "thr." if cpu else "device\nms", "latency\nms", "±95%", "p90\nms"]
    headings += ["p99\nms", "img/s", "peak\nMB", *(["mJ/\nimg"] if energy else []), "pred.\nms"]
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("status", no_wrap=True)
    for row in rows:
        cells = _cells(row, cpu)
        energy_cell = [as_number(row.readings.get("energy_mj"))] if energy else []
        predicted = as_ms(row.predicted.value if row.predicted else None)
        table.add_row(*cells, *energy_cell, predicted, _status(row))
    return table


def _cells(row: ProfileRow, cpu: bool) -> list[str]:
    m, c, latency = row.measurement, row.conditions, row.readings["latency_ms"]
    wall, device = (m.wall, m.on_device) if m else (None, None)
    return [
        str(c.batch),
        _threads(row) if cpu else as_ms(device.median_ms if device else None),
        as_ms(latency.value),
        half_width(latency),
        as_ms(wall.p90_ms if wall else None),
        as_ms(wall.p99_ms if wall else None),
        as_number(row.readings.get("throughput_ips")),
        as_number(row.readings.get("peak_memory_mb")),
    ]


def _threads(row: ProfileRow) -> str:
    threads = row.conditions.threads
    return "all" if threads is None else str(threads)


def _status(row: ProfileRow) -> str:
    """Of the latency; of the throughput where only that was measured."""
    name = "latency_ms" if row.measurement else "throughput_ips"
    return row.readings[name].status


def _predicted_table(rows: Sequence[ProfileRow], cpu: bool) -> Table:
    table = Table(show_edge=False, pad_edge=False, collapse_padding=True)
    for heading in ("batch", "precision", "mode"):
        table.add_column(heading, no_wrap=True)
    for heading in ("latency\nms", "80 % interval\nms", "img/s"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("thr." if cpu else "bound\nby", no_wrap=True)
    table.add_column("from", no_wrap=True)
    for row in rows:
        c, latency = row.conditions, row.readings["latency_ms"]
        interval = f"{as_ms(latency.low)} to {as_ms(latency.high)}"
        cells = (str(c.batch), c.precision, c.mode, as_ms(latency.value), interval)
        speed = as_number(row.readings.get("throughput_ips"))
        bound = _BOUND[latency.bound] if latency.bound else DASH
        last = _threads(row) if cpu else bound
        table.add_row(*cells, speed, last, f"predicted, {latency.basis}")
    return table


def _known(figure: Reading | None) -> bool:
    return figure is not None and figure.value is not None


def half_width(figure: Reading) -> str:
    """Half of an interval as a share of the value."""
    if figure.value is None or figure.low is None or figure.high is None:
        return DASH
    return f"{(figure.high - figure.low) / 2 / figure.value:.1%}"


def as_number(figure: Reading | None) -> str:
    """Four significant digits; a dash where there is no value."""
    if figure is None or figure.value is None:
        return DASH
    return f"{figure.value:.0f}" if figure.value >= 1000 else f"{figure.value:.4g}"


def as_ms(value: float | None) -> str:
    """Milliseconds; a dash where there is no value."""
    if value is None:
        return DASH
    return f"{value:.3f}" if value < 10 else f"{value:.2f}" if value < 100 else f"{value:.1f}"
