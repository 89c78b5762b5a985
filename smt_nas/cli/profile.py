"""`profile` and `compare`: what a network costs, how fast it is here or would be elsewhere."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from smt_nas.cli import console
from smt_nas.cli.app import INTERRUPTED, app
from smt_nas.cli.talk import say_first, talk
from smt_nas.cli.tasks.task_options import Head, Input, Task, read_head, read_input
from smt_nas.cli.tasks.task_profile import show_task_costs

if TYPE_CHECKING:
    from smt_nas.conditions import Conditions
    from smt_nas.devices.sheet import Sheet
    from smt_nas.profilers.breakdown import Breakdown
    from smt_nas.profilers.latency.sampling import Limits
    from smt_nas.profilers.network_loader import Network
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
        "pkg.module:factory, or an exported file (.onnx, .pt2, a folder of OpenVINO). Several are "
        "compared."
    ),
]
Gpu = Annotated[
    str | None,
    typer.Option(
        "--gpu",
        "--device",
        help=f"{console.DEVICE_WORDS} Measured where it is here, else predicted. Default: this "
        "machine.",
    ),
]
Batch = Annotated[
    str,
    typer.Option(
        help="Batch sizes, e.g. 1,8,64; auto finds the knee and the largest batch that fits."
    ),
]
Precision = Annotated[str, typer.Option(help="fp32, tf32, fp16, bf16, amp-fp16 or amp-bf16.")]
Form = Annotated[
    str,
    typer.Option(
        "--form",
        "--mode",
        help="How it runs: eager, compile, graph (a CUDA graph), fused, onnx or openvino.",
    ),
]
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
    context: typer.Context,
    networks: Networks,
    gpu: Gpu = None,
    batch: Batch = "1",
    precision: Precision = "fp32",
    form: Form = "eager",
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
    task: Task = None,
    head: Head = None,
    input_size: Input = None,
    as_json: console.AsJson = False,
) -> None:
    """Show what networks cost and how fast they are: measured here, or predicted and so labelled.

    With --task detect or segment: what they cost as backbones of a detector or segmenter.

    Example: smt-nas profile smt_b --gpu a100 --batch 1,64
    """
    from smt_nas.files import check_writable

    chosen = read_head(task, head, input_size)
    if chosen is not None:
        show_task_costs(context, networks, chosen, read_input(input_size), as_json)
        return

    check_writable(csv, "--csv")
    check_writable(html, "--html")
    what = f"{', '.join(networks)} on {gpu or 'this machine'}"
    say_first(context, f"Profiling {what}: loading torch first.")
    how = {"precision": precision, "mode": form, "channels_last": channels_last, "train": train}
    options = _Options(how, batch, threads, seconds, energy)
    output = options.run(_networks(networks, image_size), gpu, anchors)
    output.show(by, as_json, details=html is not None)
    output.write(csv, html)
    output.leave()


@app.command()
def compare(a: Document, b: Document, as_json: console.AsJson = False) -> None:
    """Compare two saved profiles, also of two machines or two days: is the second faster?

    Example: smt-nas compare before.json after.json
    """
    from smt_nas.report.profile.compare import match_pairs, pairs_document, pairs_notes, pairs_table
    from smt_nas.report.profile.document import read

    saved = read(a), read(b)
    pairs = match_pairs(*saved)
    if as_json:
        console.show_json(pairs_document(*saved, pairs))
        return
    console.show(pairs_table(pairs))
    console.show_notes(pairs_notes(*saved, pairs))


def _networks(specs: Sequence[str], image_size: int | None) -> list[Network]:
    from smt_nas.errors import ConfigError
    from smt_nas.profilers.network_loader import load_network

    twice = [spec for spec in dict.fromkeys(specs) if specs.count(spec) > 1]
    if twice:
        raise ConfigError(
            f"{twice[0]}: must be named once (got {specs.count(twice[0])}). Drop one."
        )
    return [load_network(spec, image_size) for spec in specs]


@dataclass(frozen=True)
class _Options:
    """What a user wants to know, as written."""

    how: dict[str, object]
    batch: str
    threads: str
    seconds: float
    energy: bool

    def run(self, networks: Sequence[Network], gpu: str | None, anchors: Path | None) -> _Output:
        """Check all of it, then measure or predict."""
        from smt_nas.profilers.profile import Request, profile, resolve_target
        from smt_nas.profilers.throughput import parse_batches

        batches, auto = parse_batches(self.batch)
        device, where = resolve_target(gpu, anchors, console.say)
        counts = self._count_threads(device.sheet, where)
        cases = [c for b in batches for c in self._conditions(b, counts)]
        sweeps = self._conditions(1, counts) if auto else []
        request = Request(tuple(cases), _limits(self.seconds), self.energy, tuple(sweeps))
        with talk() as listener, _run_networks():
            measurements = len(cases) + len(sweeps) * len(networks)
            started = itertools.count()

            def hear(text: str) -> None:
                """Each line says what is measured next."""
                listener.step("measure", next(started), measurements)
                listener.say(text)

            measured = profile(networks, device, where, request, hear)
            if where is not None and not measured.interrupted:
                listener.step("measure", measurements, measurements)
            return _Output(measured, networks)

    def _count_threads(self, sheet: Sheet, where: str | None) -> list[int | None]:
        """Numbers of threads; None is all of a CPU's, and for a GPU, which has none."""
        from smt_nas.runtime.host import available_cores

        if sheet.kind == "gpu":
            return [None]
        return _threads(self.threads, available_cores() if where else sheet.threads or 1)

    def _conditions(self, batch: int, counts: Sequence[int | None]) -> list[Conditions]:
        """One for each number of threads."""
        from smt_nas.conditions import Conditions
        from smt_nas.yaml import validated

        cases = [{**self.how, "batch": batch, "threads": n} for n in counts]
        return [validated(Conditions, case, "profile") for case in cases]


@contextmanager
def _run_networks() -> Iterator[None]:
    """Networks of users run inside: what they print is dropped, and none ends the program."""
    from smt_nas.errors import MeasurementError
    from smt_nas.runtime.user_code import run_user_code

    try:
        with run_user_code(silent=True):
            yield
    except SystemExit as error:
        raise MeasurementError(
            f"profile: a network must not end the program (got SystemExit: {error.code}). Mend it."
        ) from error


def _threads(text: str, most: int) -> list[int | None]:
    from smt_nas.errors import ConfigError

    counts = list[int | None]()
    for word in text.split(","):
        word = word.strip()
        if word != "all" and not (word.isdecimal() and 1 <= int(word) <= most):
            raise ConfigError(
                f"--threads: must be numbers from 1 to {most}, or all (got {word!r}). "
                "Write e.g. 1,all."
            )
        counts.append(None if word == "all" else int(word))
    if most == 1 and None in counts and 1 in counts:
        counts.remove(None)  # the same thing
    return list(dict.fromkeys(counts))


def _limits(seconds: float) -> Limits:
    from smt_nas.errors import ConfigError
    from smt_nas.profilers.latency.sampling import Limits

    if not 0.1 <= seconds <= 3600:
        raise ConfigError(f"--seconds: must be from 0.1 to 3600 (got {seconds:g}). 10 is usual.")
    return Limits(seconds=seconds)


class _Output:
    """What a profile gave, and what is counted of the networks beside it."""

    def __init__(self, profile: Profile, networks: Sequence[Network]) -> None:
        self._profile, self._networks = profile, networks
        self._breakdowns: list[Breakdown] = []

    def show(self, by: By | None, as_json: bool, details: bool) -> None:
        """Tables, or one JSON document."""
        from smt_nas.report.profile.costs import count_network
        from smt_nas.report.profile.document import document
        from smt_nas.report.profile.tables import tables

        part, rows = by.value if by else "stage", "block" if by == By.block else "stage"
        with _run_networks():
            counts = [count_network(network, rows) for network in self._networks]
            if by or as_json or details:
                self._breakdowns = list(self._break_down_all(part))
        if as_json:
            console.show_json(document(self._profile, counts, self._breakdowns, self._stamp))
            return
        for item in tables(self._profile, counts, self._breakdowns if by else []):
            console.show(item)

    def _break_down_all(self, by: str) -> Iterator[Breakdown]:
        """Of each network, under the first conditions that worked."""
        from smt_nas.errors import MeasurementError
        from smt_nas.profilers.breakdown import break_down

        rows = {row.network: row for row in reversed(self._profile.rows) if row.readings}
        for network in self._networks:
            row = rows.get(network.name)
            if network.file is not None:
                console.say(f"{network.name}: a deployed file is not broken down.")
            elif row is not None and not row.conditions.train:
                device, where = self._profile.device, self._profile.where
                try:
                    yield break_down(network, device, where, row.conditions, cast("Any", by))
                except MeasurementError as error:  # all else of it stands
                    console.say(str(error))

    def write(self, csv: Path | None, html: Path | None) -> None:
        """The files a user wants."""
        from smt_nas.files import write_atomic
        from smt_nas.report.profile.document import as_csv
        from smt_nas.report.profile.html import page

        if csv is not None:
            write_atomic(csv, as_csv(self._profile))
        if html is not None:
            write_atomic(html, page(self._profile, self._breakdowns, self._stamp))
            console.say(f"Wrote {html}")

    def leave(self) -> None:
        """Tell what failed; exit as shells expect."""
        failures = [row.failure for row in self._profile.rows if row.failure]
        for failure in dict.fromkeys(failures):
            console.complain(failure)
        if failures or self._profile.interrupted:
            raise typer.Exit(INTERRUPTED if self._profile.interrupted else 1)

    @cached_property
    def _stamp(self) -> dict[str, Any]:
        from smt_nas.runtime.environment import read_environment

        rows = self._profile.rows
        return read_environment(self._profile.where or "cpu", rows[0].conditions if rows else None)
