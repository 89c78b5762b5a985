"""`profile` and `compare`: what a network costs, how fast it is here or would be elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from smt_nas.cli import console
from smt_nas.cli.app import INTERRUPTED, app

if TYPE_CHECKING:
    from smt_nas.devices import Conditions
    from smt_nas.profilers.limits import Limits
    from smt_nas.profilers.networks import Network
    from smt_nas.profilers.profile import Profile


class By(StrEnum):
    """What a row of the breakdown is."""

    stage = "stage"
    block = "block"
    op = "op"


Networks = Annotated[
    list[str],
    typer.Argument(
        help="A preset (smt_t, smt_s, smt_b, smt_l), a model YAML, timm:NAME or "
        "pkg.module:factory. Several are compared."
    ),
]
Gpu = Annotated[
    str | None,
    typer.Option(
        "--gpu",
        "--device",
        help="A name of `smt-nas devices`, cpu or cuda:N. Measured where it is here, else "
        "predicted. Default: this machine.",
    ),
]
Batch = Annotated[
    str,
    typer.Option(
        help="Batch sizes, e.g. 1,8,64; auto finds the knee and the largest batch that fits."
    ),
]
Precision = Annotated[str, typer.Option(help="fp32, tf32, fp16, bf16, amp-fp16 or amp-bf16.")]
Mode = Annotated[str, typer.Option(help="eager, compile or graph (a CUDA graph).")]
ChannelsLast = Annotated[bool, typer.Option("--channels-last", help="Memory format of images.")]
Train = Annotated[bool, typer.Option("--train", help="Time a training step, not an inference.")]
ImageSize = Annotated[int | None, typer.Option(help="Pixels of the square input.")]
Threads = Annotated[
    str, typer.Option(help="CPU threads, e.g. 1,all. A GPU's figures have no threads.")
]
Seconds = Annotated[float, typer.Option(help="Time cap of one measurement.")]
Energy = Annotated[bool, typer.Option(help="Also measure energy, where a counter is readable.")]
Anchors = Annotated[
    Path | None,
    typer.Option(help="JSON of 3 to 5 networks measured on that device; corrects predictions."),
]
ByOption = Annotated[By | None, typer.Option(help="Also show where the time goes.")]
Csv = Annotated[Path | None, typer.Option("--csv", help="Write the figures to this file.")]
Html = Annotated[Path | None, typer.Option("--html", help="Write a page with charts.")]
Document = Annotated[Path, typer.Argument(help="What `smt-nas profile --json` wrote.")]


@app.command()
def profile(
    networks: Networks,
    gpu: Gpu = None,
    batch: Batch = "1",
    precision: Precision = "fp32",
    mode: Mode = "eager",
    channels_last: ChannelsLast = False,
    train: Train = False,
    image_size: ImageSize = None,
    threads: Threads = "1,all",
    seconds: Seconds = 10.0,
    energy: Energy = True,
    anchors: Anchors = None,
    by: ByOption = None,
    csv: Csv = None,
    html: Html = None,
    as_json: console.AsJson = False,
) -> None:
    """Show what networks cost and how fast they are: measured here, or predicted and so labelled.

    Example: smt-nas profile smt_b --gpu a100 --batch 1,64
    """
    from smt_nas.profilers.profile import Request, profile, target
    from smt_nas.resources import check_writable

    check_writable(csv, "--csv")
    check_writable(html, "--html")
    loaded = _networks(networks, image_size)
    device, where = target(gpu, anchors)
    shared = {"precision": precision, "mode": mode, "channels_last": channels_last, "train": train}
    cases, auto = _cases(shared, batch, threads if where == "cpu" else "all")
    request = Request(cases, _limits(seconds), energy, auto)
    found = profile(loaded, device, where, request, console.say)
    results = _Results(found, loaded, by, details=html is not None or as_json)
    results.show(as_json)
    results.write(csv, html)
    failures = [row.failure for row in found.rows if row.failure]
    for failure in dict.fromkeys(failures):
        console.complain(failure)
    if failures or found.interrupted:
        raise typer.Exit(INTERRUPTED if found.interrupted else 1)


@app.command()
def compare(a: Document, b: Document, as_json: console.AsJson = False) -> None:
    """Compare two saved profiles, also of two machines or two days: is the second faster?

    Example: smt-nas compare before.json after.json
    """
    from smt_nas.report.compare import pairs, pairs_document, pairs_notes, pairs_table
    from smt_nas.report.document import read

    saved = read(a), read(b)
    found = pairs(*saved)
    if as_json:
        console.show_json(pairs_document(*saved, found))
        return
    console.show(pairs_table(found))
    for line in pairs_notes(*saved, found):
        console.show_text(line)


def _networks(specs: Sequence[str], image_size: int | None) -> list[Network]:
    from smt_nas.errors import ConfigError
    from smt_nas.profilers.networks import load_network

    twice = [spec for spec in dict.fromkeys(specs) if specs.count(spec) > 1]
    if twice:
        raise ConfigError(
            f"{twice[0]}: must be named once (got {specs.count(twice[0])}). Drop one."
        )
    return [load_network(spec, image_size) for spec in specs]


def _cases(
    shared: dict[str, object], batch: str, threads: str
) -> tuple[tuple[Conditions, ...], bool]:
    """Every batch with every number of threads, and whether the batches are to be found."""
    from smt_nas.devices import Conditions
    from smt_nas.profilers.throughput import parse_batches
    from smt_nas.resources import validated

    batches, auto = parse_batches(batch)
    cases = [
        validated(Conditions, {**shared, "batch": b, "threads": t}, "profile")
        for b in batches
        for t in _threads(threads)
    ]
    return tuple(cases), auto


def _threads(text: str) -> list[int | None]:
    from smt_nas.errors import ConfigError
    from smt_nas.profilers.switches import all_threads

    most, found = all_threads(), list[int | None]()
    for word in text.split(","):
        word = word.strip()
        if word != "all" and not (word.isdecimal() and 1 <= int(word) <= most):
            raise ConfigError(
                f"--threads: must be numbers from 1 to {most}, or all (got {word!r}). "
                "Write e.g. 1,all."
            )
        found.append(None if word == "all" else int(word))
    if most == 1 and None in found and 1 in found:
        found.remove(None)  # the same thing
    return list(dict.fromkeys(found))


def _limits(seconds: float) -> Limits:
    from smt_nas.errors import ConfigError
    from smt_nas.profilers.limits import Limits

    if not 0.1 <= seconds <= 3600:
        raise ConfigError(f"--seconds: must be from 0.1 to 3600 (got {seconds:g}). 10 is usual.")
    return Limits(seconds=seconds)


class _Results:
    """What was found, and what is counted of the networks beside it."""

    def __init__(
        self, found: Profile, networks: Sequence[Network], by: By | None, details: bool
    ) -> None:
        from smt_nas.profilers.breakdown import break_down
        from smt_nas.report.costs import counted

        self.found, self.by = found, by
        self.counted = [counted(n, "block" if by == By.block else "stage") for n in networks]
        wanted = [n for n in networks if by is not None or details]
        rows = {row.network: row.conditions for row in reversed(found.rows) if row.figures}
        self.breakdowns = [
            break_down(n, found.device, found.where, rows[n.name], by.value if by else "stage")
            for n in wanted
            if n.name in rows and not rows[n.name].train
        ]

    def show(self, as_json: bool) -> None:
        """Tables, or one JSON document."""
        from smt_nas.report.document import document
        from smt_nas.report.profile import tables

        if as_json:
            console.show_json(document(self.found, self.counted, self.breakdowns, self._stamp))
            return
        for item in tables(self.found, self.counted, self.breakdowns if self.by else []):
            console.show(item)

    def write(self, csv: Path | None, html: Path | None) -> None:
        """The files that were asked for."""
        from smt_nas.report.document import as_csv
        from smt_nas.report.html import page
        from smt_nas.resources import write_atomic

        if csv is not None:
            write_atomic(csv, as_csv(self.found))
        if html is not None:
            write_atomic(html, page(self.found, self.breakdowns, self._stamp))
            console.say(f"Wrote {html}")

    @cached_property
    def _stamp(self) -> dict[str, object]:
        from smt_nas.profilers.environment import environment

        return environment(self.found.where or "cpu")
