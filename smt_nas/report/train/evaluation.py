"""How well weights recognise images: tables, what they are of, and a JSON document."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.table import Table

from smt_nas.errors import format_count, list_names
from smt_nas.report.shares import format_digits, interval, percent
from smt_nas.report.train.warnings import warning_line
from smt_nas.train.data.class_order import are_numbers
from smt_nas.train.evaluate_weights import EvalResult
from smt_nas.train.evaluation import Score

_FAR = 0.2  # of top-1: more than chance exchanges
_FEW = 20  # classes that are shown without being asked for


def score_table(result: EvalResult) -> Table:
    """The score, on one row."""
    table = Table(show_edge=False, pad_edge=False)
    headings = ("top-1 %\ntrained", "95 %\ninterval", "top-5 %\ntrained", "loss", "images")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    score = result.score
    table.add_row(
        percent(score.top1),
        interval(score.top1_low, score.top1_high),
        percent(score.top5),
        format_digits(score.loss, 4),
        str(score.n),
    )
    return table


def shows_classes(result: EvalResult, requested: bool | None) -> bool:
    """Whether the classes are shown; where that was not said, if they are few."""
    return len(result.score.per_class) <= _FEW if requested is None else requested


def class_table(result: EvalResult) -> Table:
    """A row a class: its accuracy, and what it is most often taken for."""
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("class", overflow="fold", max_width=24)
    for heading in ("images", "top-1 %", "95 % interval"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("most often taken for", overflow="fold", max_width=24)
    for c in result.score.per_class:
        other = "" if c.confused_with is None else f"{c.confused_with} ({c.confused})"
        ends = interval(c.top1_low, c.top1_high)
        table.add_row(c.name, str(c.n), percent(c.top1), ends, other)
    return table


def score_notes(result: EvalResult) -> list[str]:
    """What the figures are of, and what a reader must know of them."""
    request, transform = result.request, result.evaluation
    resize = "resized" if transform.resize == "direct" else f"center crop of {transform.crop_pct:g}"
    views = ", each with its mirror image" if request.tta == "flip" else ""
    lines = [
        f"Weights: {result.source}: {_describe_weights(result)}",
        *(f"{result.source}: {note}" for note in result.notes),
        f"Images: {_describe_split(result)} of {result.data}, "
        f"{format_count(result.score.n, 'image')} of {len(result.score.per_class)} classes; "
        f"{result.image_size} px, {resize}{views}; {request.precision} on {result.device}.",
        "The interval is Wilson's: how well so many images can tell.",
        *map(warning_line, result.score.warnings()),
        *[f"Not read: {list_names(result.unreadable, 3)}."] * bool(result.unreadable),
        *_describe_classes(result),
        *result.remarks,
    ]
    if result.seen:
        lines.append("It was trained on some of these images: they do not tell about new ones.")
    if request.tta == "flip" and not result.mirrors:
        lines.append("A mirrored image is another class, or none, in these data: --tta flip harms.")
    return lines


def score_document(result: EvalResult) -> dict[str, Any]:
    """The JSON of an evaluation (schema 1). None was not measured."""
    card, score = result.card, asdict(result.score)
    return {
        "schema": 1,
        "kind": "evaluation",
        "weights": {
            "path": str(result.source),
            "kind": "published" if card is None else card.weights,
            "inherited": None if card is None else card.inherited,
            "averaged": result.averaged,
            "epoch": None if card is None else card.epoch,
            "update": None if card is None else card.update,
            "recipe": None if card is None else card.recipe,
            "key": result.arch.key,
        },
        "data": result.data,
        "split": result.split,
        "classes": result.matching,
        "carved": result.carved,
        "seen_in_training": result.seen,
        "preparation": result.evaluation.model_dump(mode="json")
        | {"image_size": result.image_size, "tta": result.request.tta},
        "precision": result.request.precision,
        "device": result.device,
        "processes": result.processes,
        "provenance": "trained",
        "score": score,
    }


def _describe_classes(result: EvalResult) -> list[str]:
    """Which output stands for which class, where that is no matter of course."""
    names = [c.name for c in result.score.per_class]
    inner = [*names[:3], "…", names[-1]] if len(names) > 4 else names
    order = ", ".join(inner)
    if result.matching == "by_number":
        return [f"Classes are matched with the weights' by number: {order}."]
    if result.matching == "reordered":
        return [f"Classes are taken in the order of the weights, by name: {order}."]
    if result.matching == "same":
        return []
    how = ""
    if are_numbers(names) and names != sorted(names):
        how = ", by number (torchvision's ImageFolder has them as text)"
    lines = [
        f"The weights name no classes: their outputs are taken in the data's order, {order}{how}. "
        "Where that is wrong, name it with --classes FILE."
    ]
    better = find_other_order(result.score)
    if better is not None:
        lines.append(
            f"The order seems to be another: each class is mostly taken for one other, and with "
            f"those exchanged top-1 would be {percent(better)} %."
        )
    return lines


def find_other_order(score: Score) -> float | None:
    """Top-1, in 0..1, if every class were called what it is most often taken for.

    Returns: None where that is no order of the classes, or not far better.
    """
    targets, hits = list[str](), 0.0
    for c in score.per_class:
        right = (c.top1 or 0.0) * c.n
        other = c.confused_with is not None and c.confused > right
        targets.append(str(c.confused_with) if other else c.name)
        hits += c.confused if other else right
    top1 = hits / score.n
    one_to_one = len(set(targets)) == len(targets)
    return top1 if one_to_one and top1 > score.top1 + _FAR else None


def _describe_weights(result: EvalResult) -> str:
    card, key = result.card, result.arch.key
    if card is None:
        return f"without a card; taken for {result.request.arch} ({key})."
    kind = "moving average" if card.weights == "ema" else "as trained"
    if card.inherited is not None:
        kind = f"inherited from supernet {card.inherited}, {kind}"
    return (
        f"{kind}, epoch {card.epoch}, update {card.update}; network {key}, recipe {card.recipe} "
        f"on {card.data}."
    )


def _describe_split(result: EvalResult) -> str:
    if result.split == "all":
        return "all images"
    how = ", held out of train as in the training," if result.carved else ""
    return f"{result.split} split{how}" if result.split != "train" else "training split"
