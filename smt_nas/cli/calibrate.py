"""`calibrate`: measure the parts of a space on this machine, for predictions to come."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from smt_nas.cli import console
from smt_nas.cli.app import app
from smt_nas.cli.talk import say_first, talk

if TYPE_CHECKING:
    from smt_nas.conditions import Conditions
    from smt_nas.devices.sheet import Sheet

_STEPS = 1000  # of the progress bar


Device = Annotated[str, typer.Option(help=f"{console.DEVICE_WORDS} It must be here.")]
Space = Annotated[str, typer.Option(help="A name of `smt-nas spaces`, or a YAML.")]
Minutes = Annotated[
    float, typer.Option(help="Stop measuring then; the table is valid anyway.", min=0.01)
]
Batch = Annotated[
    str, typer.Option(help="Images a forward, e.g. 1,8. Default: 1; on a GPU 1,8,64.")
]
Precisions = Annotated[
    str, typer.Option(help="E.g. fp32,bf16. Default: fp32; on a GPU fp32,amp-fp16.")
]
Forms = Annotated[
    str,
    typer.Option(
        "--form",
        "--mode",
        help="E.g. eager,fused,onnx,openvino; on a GPU eager,graph. Default: eager; there both.",
    ),
]
Threads = Annotated[int, typer.Option(help="CPU threads.", min=1, max=1024)]
Out = Annotated[Path, typer.Option(help="Folder of the table.")]
Seed = Annotated[int, typer.Option(help="Of the schedule.", min=0)]


@app.command()
def calibrate(
    context: typer.Context,
    device: Device = "cpu",
    space: Space = "smt",
    minutes: Minutes = 10.0,
    batch: Batch = "",
    precision: Precisions = "",
    form: Forms = "",
    threads: Threads = 1,
    out: Out = Path("profiles"),
    seed: Seed = 0,
    as_json: console.AsJson = False,
) -> None:
    """Measure the building blocks of a space on this machine, and check what they predict.

    Goes on where an interrupted run of the same command stopped.

    Example: smt-nas calibrate --device cpu --space smt_micro --minutes 10
    """
    what = f"the blocks of space {space} on {device}"
    say_first(context, f"Measuring {what}, for {minutes:g} min at most.")
    from smt_nas.profilers.calibration.calibrate import calibrate as measure
    from smt_nas.report.profile.calibrate import (
        calibration_document,
        calibration_notes,
        calibration_table,
    )
    from smt_nas.space import SearchSpace

    conditions = _conditions(device, batch, precision, form, threads)
    with talk() as listener:
        result = measure(
            SearchSpace.load(space),
            device,
            conditions,
            minutes,
            out,
            seed,
            on_progress=lambda share: listener.step("calibrate", int(share * _STEPS), _STEPS),
        )
    if as_json:
        console.show_json(calibration_document(result.evidence, result.path))
        return
    console.show(calibration_table(result.evidence))
    console.show_notes(calibration_notes(result.evidence, result.path))


def _conditions(
    device: str, batch: str, precision: str, form: str, threads: int
) -> tuple[Conditions, ...]:
    """Every combination of the comma-separated lists. Raises ConfigError."""
    from smt_nas.conditions import MODES, Precision
    from smt_nas.profilers.calibration.calibrate import conditions_of

    return conditions_of(
        _sheet_here(device),
        _batches(batch),
        [_one_of("precision", word, get_args(Precision)) for word in _words(precision)],
        [_one_of("form", word, MODES) for word in _words(form)],
        threads,
    )


def _sheet_here(device: str) -> Sheet:
    """The sheet of a device of this machine; only what is here can be measured."""
    from smt_nas.devices.resolve import resolve

    ref = resolve(device)
    ref.require_here()
    return ref.require_sheet()


def _words(text: str) -> list[str]:
    return list(dict.fromkeys(w.strip() for w in text.split(",") if w.strip()))


def _batches(text: str) -> tuple[int, ...]:
    """Batches of a comma-separated list; the defaults where it is empty. Raises ConfigError."""
    from smt_nas.errors import ConfigError
    from smt_nas.profilers.throughput import parse_batches

    batches, auto = parse_batches(text) if text else ((), False)
    if auto:
        raise ConfigError("--batch: a table is of batches that are named (got auto). Write 1,8,64.")
    return batches


def _one_of(kind: str, word: str, known: tuple[str, ...]) -> Any:
    from smt_nas.errors import UnknownName

    if word not in known:
        raise UnknownName(kind, word, known)
    return word
