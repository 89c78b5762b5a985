"""How well weights recognise images: tables, what they are of, and a JSON document."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.table import Table

from smt_nas.report.shares import format_digits, interval, percent
from smt_nas.train.assess import Answer

_FEW = 20  # classes that are shown without being asked for


def score_table(answer: Answer) -> Table:
    """The score, on one row."""
    table = Table(show_edge=False, pad_edge=False)
    headings = ("top-1 %\ntrained", "95 %\ninterval", "top-5 %\ntrained", "loss", "images")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    score = answer.score
    table.add_row(
        percent(score.top1),
        interval(score.top1_low, score.top1_high),
        percent(score.top5),
        format_digits(score.loss, 4),
        str(score.n),
    )
    return table


def shows_classes(answer: Answer, asked: bool | None) -> bool:
    """Whether the classes are shown; where that was not said, if they are few."""
    return len(answer.score.per_class) <= _FEW if asked is None else asked


def class_table(answer: Answer) -> Table:
    """A row a class: its accuracy, and what it is most often taken for."""
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("class", overflow="fold", max_width=24)
    for heading in ("images", "top-1 %", "95 % interval"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("most often taken for", overflow="fold", max_width=24)
    for c in answer.score.per_class:
        other = "" if c.confused_with is None else f"{c.confused_with} ({c.confused})"
        ends = interval(c.top1_low, c.top1_high)
        table.add_row(c.name, str(c.n), percent(c.top1), ends, other)
    return table


def score_notes(answer: Answer) -> list[str]:
    """What the figures are of, and what a reader must know of them."""
    question, how = answer.question, answer.evaluation
    resize = "resized" if how.resize == "direct" else f"center crop of {how.crop_pct:g}"
    views = ", each with its mirror image" if question.tta == "flip" else ""
    lines = [
        f"Weights: {answer.source}: {_weights(answer)}",
        f"Images: {_split(answer)} of {answer.data}, {answer.score.n} of "
        f"{len(answer.score.per_class)} classes; {answer.image_size} px, {resize}{views}; "
        f"{question.precision} on {answer.device}.",
        "The interval is Wilson's: how well so many images can tell.",
        *answer.score.warnings(),
    ]
    if answer.seen:
        lines.append("It was trained on some of these images: they do not tell about new ones.")
    if question.tta == "flip" and not answer.mirrors:
        lines.append("A mirrored image is another class, or none, in these data: --tta flip harms.")
    return lines


def score_document(answer: Answer) -> dict[str, Any]:
    """The JSON of an evaluation (schema 1). None was not measured."""
    card, score = answer.card, asdict(answer.score)
    return {
        "schema": 1,
        "kind": "evaluation",
        "weights": {
            "path": str(answer.source),
            "kind": "published" if card is None else card.weights,
            "epoch": None if card is None else card.epoch,
            "update": None if card is None else card.update,
            "recipe": None if card is None else card.recipe,
            "key": answer.arch.key,
        },
        "data": answer.data,
        "split": answer.split,
        "carved": answer.carved,
        "seen_in_training": answer.seen,
        "preparation": answer.evaluation.model_dump(mode="json")
        | {"image_size": answer.image_size, "tta": answer.question.tta},
        "precision": answer.question.precision,
        "device": answer.device,
        "processes": answer.processes,
        "provenance": "trained",
        "score": score,
    }


def _weights(answer: Answer) -> str:
    card, key = answer.card, answer.arch.key
    if card is None:
        return f"without a card; taken for {answer.question.arch} ({key})."
    kind = "moving average" if card.weights == "ema" else "as trained"
    return (
        f"{kind}, epoch {card.epoch}, update {card.update}; network {key}, recipe {card.recipe} "
        f"on {card.data}."
    )


def _split(answer: Answer) -> str:
    if answer.split == "all":
        return "all images"
    how = ", held out of train as in the training," if answer.carved else ""
    return f"{answer.split} split{how}" if answer.split != "train" else "training split"
