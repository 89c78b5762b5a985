"""A supernet: what its training came to, what it was trained for, a JSON document of both."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.table import Table

from smt_nas.costs.bounds import bounds
from smt_nas.errors import format_count, list_names
from smt_nas.files import shell_word
from smt_nas.metrics import METRICS
from smt_nas.report.shares import DASH, format_digits, percent
from smt_nas.report.sparkline import sparkline

if TYPE_CHECKING:
    from smt_nas.evaluators.supernet import Supernet, SupernetResult  # they need torch

_SHOWN = 4  # choices, the rarest first
_CURVE = 30  # characters


def result_notes(result: SupernetResult) -> list[str]:
    """What came of a start of a training, and what to do next."""
    last = result.last
    losses = ""
    if last is not None:
        losses = (
            f", loss of the big networks {format_digits(last.loss_big, 3)}, divergence of the "
            f"others {format_digits(last.kl, 4)}"
        )
    state = "Interrupted" if result.interrupted else "Trained"
    lines = [
        f"{state}: {format_count(result.step, 'step')} of {result.steps:,} in "
        f"{result.seconds / 60:.1f} min{losses}.",
        *_describe_mishaps(result.skipped, result.rollbacks),
    ]
    if not result.interrupted:
        run = shell_word(result.folder)
        lines.append(f"Next: smt-nas search --evaluator supernet:{run}")
    return lines


def result_document(result: SupernetResult) -> dict[str, Any]:
    """The JSON of `supernet train`."""
    return {
        "schema": 1,
        "run": str(result.folder),
        "step": result.step,
        "steps": result.steps,
        "interrupted": result.interrupted,
        "skipped": result.skipped,
        "rollbacks": result.rollbacks,
        "seconds": round(result.seconds, 3),
        "last": None if result.last is None else asdict(result.last),
        "coverage": result.coverage.to_dict(),
    }


def info_table(supernet: Supernet) -> Table:
    """A row a fact."""
    table = Table(show_header=False, show_edge=False, pad_edge=False, box=None)
    table.add_column("", no_wrap=True, style="dim")
    table.add_column("")
    for name, value in _list_facts(supernet):
        table.add_row(name, value)
    return table


def _list_facts(supernet: Supernet) -> Iterator[tuple[str, str]]:
    card, rows = supernet.card, supernet.losses
    shared = sum(tensor.numel() for tensor in supernet.store.named_tensors().values())
    classes = format_count(len(card.classes), "class")
    yield "space", f"{card.space_name}: {_describe_range(supernet)}"
    yield "weights", f"{shared / 1e6:.2f} M shared, digest {supernet.digest}"
    yield "data", f"{card.data}, {classes}{_describe_split(card)}"
    yield "recipe", f"{card.recipe}, seed {card.seed}"
    yield "steps", f"{card.step:,} of {card.steps:,}, {format_count(card.epoch, 'whole pass')}"
    big = [row.loss_big for row in rows if row.loss_big is not None]
    if big:
        curve = sparkline(big, _CURVE)
        chance = math.log(len(card.classes))
        fall = f"{big[0]:.3f} to {big[-1]:.3f}  {curve}"
        yield "loss, big networks", f"{fall}  (knowing nothing: {chance:.3f})"
    kl = [row.kl for row in rows if row.kl is not None]
    if kl:
        curve = sparkline(kl, _CURVE)
        yield "divergence, others", f"{kl[0]:.4f} to {kl[-1]:.4f}  {curve}"
    yield "steps left out", f"{card.skipped}, roll-backs: {card.rollbacks}"
    yield "rarest choices", _describe_rarest(supernet)


def _find_range(supernet: Supernet) -> tuple[float, float]:
    """Least and most MACs of the networks that were trained."""
    macs, trained = bounds(supernet.space)["macs"], supernet.card.macs
    if trained is None:
        return macs.low, macs.high
    return max(macs.low, trained[0]), min(macs.high, trained[1])


def _describe_range(supernet: Supernet) -> str:
    (low, high), describe = _find_range(supernet), METRICS["macs"].describe
    of = "" if supernet.card.macs is None else "; those that were trained have "
    size = f"{supernet.space.size:.3g} networks{of or ', '}"
    return f"{size}{describe(low)} to {describe(high)} ({high / low:.1f}x)"


def _describe_split(card: Any) -> str:
    if card.split is None:
        return ", rated on its validation split"
    return f", rated on {percent(card.split.fraction, ' %', 1)} held out (seed {card.split.seed})"


def _describe_rarest(supernet: Supernet) -> str:
    shares = list(_find_shares(supernet).items())[:_SHOWN]
    words = [f"{name}: {percent(share, ' %', 1)}" for name, share in shares]
    return f"{', '.join(words) or DASH} of the steps"


def _find_shares(supernet: Supernet) -> Mapping[str, float]:
    """Share of the steps that trained each choice of the space, the rarest first."""
    shares = supernet.coverage.find_rare_in(supernet.space, least=2.0)  # all of them
    return dict(sorted(shares.items(), key=lambda pair: pair[1]))


def info_notes(supernet: Supernet) -> list[str]:
    """What a reader must know of it."""
    card, lines = supernet.card, list[str]()
    rare = supernet.coverage.find_rare_in(supernet.space)
    if rare:
        lines.append(
            f"Less than 1 % of the steps trained {list_names(list(rare), _SHOWN)}: networks with "
            "them are not rated. Train longer, or drop them from the space."
        )
    thin = supernet.coverage.find_thin_in(supernet.space)
    if thin:
        lines.append(
            f"Less than 5 % of the steps trained {list_names(list(thin), _SHOWN)}: the intervals "
            "of networks with them are wider, by the square root of 5 % over that share."
        )
    run = shell_word(supernet.folder)
    if card.step < card.steps:
        lines.append("Its training has not ended. The command that began it goes on.")
    else:
        lines.append(
            "What it says of a network is no accuracy that one trained alone would have; how well "
            f"it orders networks: smt-nas validate supernet:{run} --on BENCH."
        )
    return lines


def info_document(supernet: Supernet) -> dict[str, Any]:
    """The JSON of `supernet info`."""
    card, (low, high) = supernet.card, _find_range(supernet)
    return {
        "schema": 1,
        "run": str(supernet.folder),
        "digest": supernet.digest,
        "space": card.space_name,
        "space_digest": supernet.space.digest,
        "macs": {"low": low, "high": high},
        "card": card.model_dump(mode="json", exclude={"coverage", "spec"}),
        "coverage": dict(_find_shares(supernet)),
        "rare": supernet.coverage.find_rare_in(supernet.space),
        "thin": supernet.coverage.find_thin_in(supernet.space),
        "losses": [asdict(row) for row in supernet.losses],
    }


def _describe_mishaps(skipped: int, rollbacks: int) -> list[str]:
    lines = []
    if skipped:
        lines.append(
            f"Left out: {format_count(skipped, 'step')}, whose losses or gradients were not finite "
            "or far above the usual."
        )
    if rollbacks:
        lines.append(f"Gone back to a checkpoint: {format_count(rollbacks, 'time')}.")
    return lines
