"""`eval`: how well weights recognise images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from smt_nas.cli import console
from smt_nas.cli.app import app
from smt_nas.cli.talk import say_first
from smt_nas.cli.training.training_talk import training

if TYPE_CHECKING:
    from smt_nas.train.evaluate_weights import EvalResult

Weights = Annotated[
    Path,
    typer.Argument(
        metavar="CKPT",
        help="The folder of a training (its best weights), a checkpoint in it, a .safetensors of "
        "ours, or a published .pth; with :ema or :model after it, that of both.",
    ),
]
Data = Annotated[
    str | None,
    typer.Option(help="As of `smt-nas train`. Default: the data it was trained on."),
]
Split = Annotated[
    str,
    typer.Option(
        help="auto, test, validation, train or all. auto: test, else validation, else all."
    ),
]
BatchSize = Annotated[int, typer.Option(help="Images of one process at a time.")]
WorkerCount = Annotated[int, typer.Option(help="Processes that read images.")]
Device = Annotated[str | None, typer.Option(help=f"{console.DEVICE_WORDS} Default: what is here.")]
Precision = Annotated[str, typer.Option(help="fp32, tf32, amp-fp16 or amp-bf16.")]
Resize = Annotated[
    str | None,
    typer.Option(help="center (crop the middle) or direct. Default: as in the training."),
]
CropPct = Annotated[
    float | None, typer.Option(help="Share of the side that a center crop keeps, e.g. 0.875.")
]
ImageSize = Annotated[int | None, typer.Option(help="Pixels. Default: as in the training.")]
Tta = Annotated[str, typer.Option(help="none, or flip: also judge the mirror image.")]
Arch = Annotated[
    str | None, typer.Option(help="Network of weights that do not say theirs: smt_t, or a YAML.")
]
PerClass = Annotated[
    bool | None,
    typer.Option("--per-class/--no-per-class", help="A row a class. Default: up to 20 classes."),
]
Classes = Annotated[
    Path | None,
    typer.Option(
        help="Text file with a class name a line, in the order of the network's outputs. Default: "
        "as the weights say, else as the data have them."
    ),
]
MaxUnreadable = Annotated[int, typer.Option(help="Unreadable images that are put up with.")]


@app.command("eval")
def evaluate(
    context: typer.Context,
    weights: Weights,
    data: Data = None,
    split: Split = "auto",
    batch_size: BatchSize = 64,
    workers: WorkerCount = 0,
    device: Device = None,
    precision: Precision = "fp32",
    resize: Resize = None,
    crop_pct: CropPct = None,
    image_size: ImageSize = None,
    tta: Tta = "none",
    arch: Arch = None,
    per_class: PerClass = None,
    classes: Classes = None,
    max_unreadable: MaxUnreadable = 100,
    as_json: console.AsJson = False,
) -> None:
    """Judge weights by labelled images; on one process or under torchrun.

    Example: smt-nas eval runs/train-smt_micro-digits
    """
    say_first(context, f"Evaluating {weights}: loading torch and the data first.")
    from smt_nas.train.evaluate_weights import EvalRequest, evaluate_weights
    from smt_nas.train.processes.process_group import join_process_group
    from smt_nas.yaml import validated

    given = context.params  # by name: a dozen in a row would be mixed up one day
    values = {name: given[name] for name in EvalRequest.model_fields}
    request = validated(EvalRequest, values, "eval")
    with join_process_group(device) as group, training(group.is_main) as listener:
        result = evaluate_weights(request, group, listener)
    if group.is_main:
        _show(result, per_class, as_json)


def _show(result: EvalResult, per_class: bool | None, as_json: bool) -> None:
    from smt_nas.report.train.evaluation import (
        class_table,
        score_document,
        score_notes,
        score_table,
        shows_classes,
    )

    if as_json:
        console.show_json(score_document(result))
        return
    console.show(score_table(result))
    console.show_notes(score_notes(result))
    if shows_classes(result, per_class):
        console.show(class_table(result))
