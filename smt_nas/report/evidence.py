"""What an evaluator's figures are and what they rest on: in full, or in short lines."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from smt_nas.errors import format_count, list_names
from smt_nas.evaluators.evidence import (
    AnyEvidence,
    BenchEvidence,
    CombinedEvidence,
    FamilyEvidence,
    FunctionEvidence,
    ProxyEvidence,
    PublishedEvidence,
    SupernetEvidence,
    TableEvidence,
    TrainingEvidence,
    UnknownEvidence,
)
from smt_nas.evaluators.published_agreement import BenchAgreement, RankAgreement
from smt_nas.evaluators.scaling_law import KNOWN_MEMBERS
from smt_nas.evaluators.topology.fits import FamilyAgreement

_BENCH = "SMT-Bench-mini"
_UNKNOWN = "nothing is known of how well it orders networks"


_WIDTH = 80  # of a sentence of runs of before, where it is shortened


def describe_evidence(evidence: AnyEvidence | str) -> str:
    """All in one line that begins with the evaluator's name; in runs of before, their sentence."""
    if isinstance(evidence, str):
        return evidence
    return f"{evidence.evaluator}: {_WORDS[type(evidence)].whole(evidence)}"


def summarise_evidence(evidence: AnyEvidence | str) -> str:
    """What the evaluator's figure is, in a short line: said before a search."""
    if isinstance(evidence, str):
        return _shorten(evidence)
    return f"{evidence.evaluator}: {_WORDS[type(evidence)].figure(evidence)}."


def describe_doubt(evidence: AnyEvidence | str) -> str | None:
    """How well the figure orders networks, in a short line; None where there is no doubt."""
    if isinstance(evidence, str):
        return _shorten(evidence)
    doubt = _WORDS[type(evidence)].doubt(evidence)
    return None if doubt is None else f"{evidence.evaluator}{doubt}."


def _shorten(sentence: str) -> str:
    return textwrap.shorten(sentence, _WIDTH, placeholder=" ...")


_SCORE = (
    "a score, as ImageNet's top-1 has no meaning for other images or classes: 0 is SMT-T (its "
    "like, for small images) at the same input, 1 a standard deviation of published networks of "
    "equal costs"
)


def _published(e: PublishedEvidence) -> str:
    figure = f"{_SCORE}; that" if e.relative else "expected ImageNet-1K top-1"
    return (
        f"{figure} of a network of these MACs, params and activations, from "
        f"{e.networks} published conv-attention networks of {e.families} families; mean error "
        f"{e.mean_error:.1f} points in a family left out, {e.known_members} members known; it "
        "knows nothing of the topology"
        f"{_aside(e.agreement)}"
    )


def _bench(e: BenchEvidence) -> str:
    images = "small images" if e.bench is None else "images of your own"
    return (
        "points of top-1 above the published pattern, predicted from networks trained on "
        f"{images} ({_source(e)})"
    )


def _family(e: FamilyEvidence) -> str:
    figure = _SCORE if e.relative else "expected ImageNet-1K top-1, predicted"
    known = "" if e.agreement is None else f" ({_describe_families(e.agreement)})"
    return (
        f"{figure}, by costs and topology of published ImageNet networks{known}; attention, kernel "
        "sets and expand ratios, of which no published data tell, add nothing but doubt"
    )


def _describe_families(a: FamilyAgreement) -> str:
    return (
        f"{format_count(a.networks, 'network')} of {a.families} families; in a conv-attention "
        f"family left out with its line of design, {KNOWN_MEMBERS} members known, the mean error "
        f"is {a.error:.2f} points (costs alone {a.costs_error:.2f}, the law of capacity "
        f"{a.law_error:.2f}) and 80 % intervals hold {100 * a.coverage:.0f} %; with none known "
        f"{a.error_unknown:.2f} (costs alone {a.costs_error_unknown:.2f}); costs alone are worse "
        f"by {-a.difference:.3f} [{-a.high:.3f}, {-a.low:.3f}] over {a.compared} families"
    )


def _doubt_family(e: FamilyEvidence) -> str:
    a = e.agreement
    if a is None:
        return f": {_UNKNOWN}"
    return f": mean error {a.error:.2f} points in a line left out (costs alone {a.costs_error:.2f})"


def _combined(e: CombinedEvidence) -> str:
    leads = e.agreement is not None and e.agreement.own.leads
    best = "; nothing that needs no data is better beyond doubt" if leads else ""
    figure = _SCORE if e.relative else "expected ImageNet-1K top-1, predicted"
    return (
        f"{figure}: the level by capacity, from published networks; the "
        f"topology by networks trained on small images ({_source(e)}{best}){_word_carrying(e)}"
    )


def _word_carrying(e: CombinedEvidence) -> str:
    """What of it counted at full size, in runs of before `FamilyEvidence`."""
    if e.without_attention is None:
        return "; it counts for small images alone, as it does not carry over to ImageNet's"
    return (
        "; that this carries over is assumed, but for attention, where small images contradict the "
        f"paper: it counts for nothing at full size ({_agreement(e.without_attention)} without it)"
    )


def _proxy(e: ProxyEvidence) -> str:
    known = "" if e.agreement is None else f"; on {_BENCH} {_beside_params(e.agreement)}"
    weak = ", ".join(e.no_better_than_params)
    verdict = f"; at equal MACs {weak} no better than #params" if weak else ""
    return f"a proxy, not an accuracy{known}{verdict}"


def _training(e: TrainingEvidence) -> str:
    epochs = ", ".join(map(str, e.rungs))
    halving = f"successive halving by accuracy and MACs at epochs {epochs}"
    every = halving if len(e.rungs) > 1 else "every network to the end"
    return (
        f"{_name_training(e)}, {every}; trained, but short{_warn_of_few_updates(e)}: the order may "
        "change in a full training. The predictor chooses the first networks"
        f"{_aside(e.guess)}."
    )


def _warn_of_few_updates(e: TrainingEvidence) -> str:
    if e.few_updates is None:
        return ""
    updates = format_count(e.few_updates, "update")
    return f" ({updates}: few networks learn much from them; more --epochs)"


def _name_training(e: TrainingEvidence) -> str:
    epochs, images = format_count(e.rungs[-1], "epoch"), format_count(e.images, "image")
    return f"val top-1 after {epochs} on {e.data} ({images})"


def _supernet(e: SupernetEvidence) -> str:
    rare = ""
    if e.rare:
        rare = f"; networks with {list_names(e.rare)} are not rated, as these were hardly trained"
    if e.thin:
        rare += f"; those with {list_names(e.thin)} have wider intervals, as few steps trained it"
    return (
        f"{_name_inherited(e)}; {e.digest}, {format_count(e.steps, 'step')} of training on space "
        f"{e.space}; it orders networks, and is no accuracy that one trained alone would have"
        f"{rare}. `smt-nas validate {e.evaluator} --on BENCH` tells how well it orders."
    )


def _name_inherited(e: SupernetEvidence) -> str:
    return f"mean loss on held-out images of {e.data}, with weights inherited from a supernet"


def _function(e: FunctionEvidence) -> str:
    line = f"your own function; {_UNKNOWN}."
    if not e.importable:
        return line
    return f"{line} `smt-nas validate {e.evaluator} --on smt-bench-mini` finds out."


def _table(e: TableEvidence) -> str:
    return f"{format_count(e.networks, 'network')} of a table"


def _unknown(e: UnknownEvidence) -> str:
    return f"{e.description}; {_UNKNOWN}"


def _source(e: BenchEvidence | CombinedEvidence) -> str:
    """The bench, and what is known of it."""
    if e.bench is not None:
        return f"{e.bench}, {format_count(e.networks or 0, 'network')}"
    return _BENCH if e.agreement is None else f"{_BENCH}: {_beside_params(e.agreement)}"


def _aside(agreement: BenchAgreement | None) -> str:
    return "" if agreement is None else f" ({_BENCH}: {_beside_params(agreement)})"


def _beside_params(agreement: BenchAgreement) -> str:
    own, params = agreement.own, agreement.params
    theirs = [params.tau, params.in_band, *_list_picks(params)]
    verdict = ""
    if own.top_recall is not None:
        verdict = f"; as a pick of the best {'' if own.picks_better else 'no '}better beyond doubt"
    return f"{_agreement(own)} (#params {', '.join(map(_two, theirs))}{verdict})"


def _agreement(a: RankAgreement) -> str:
    """`held-out Kendall tau 0.74, 0.48 at equal MACs, recall of the best ten 0.4, regret 0.5`."""
    prefix = "held-out " if a.held_out else ""
    picks = ""
    if a.top_recall is not None:
        picks = f", recall of the best ten {_two(a.top_recall)}, regret {_two(a.regret)} points"
    return f"{prefix}Kendall tau {_two(a.tau)}, {_two(a.in_band)} at equal MACs{picks}"


def _list_picks(a: RankAgreement) -> list[float | None]:
    return [] if a.top_recall is None else [a.top_recall, a.regret]


def _two(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _name_score(e: PublishedEvidence | CombinedEvidence | FamilyEvidence) -> str:
    if e.relative:
        return "a score that only orders networks, predicted; 0 is SMT-T at the same input"
    return "expected ImageNet-1K top-1, predicted"


def _compare_picks(agreement: BenchAgreement | None, own: RankAgreement | None = None) -> str:
    """Tau never stands alone: a better order need not name the best."""
    if agreement is None:
        return f": {_UNKNOWN}"
    own = own or agreement.own
    held_out = ", held out" if own.held_out else ""
    theirs = ", ".join(map(_two, [agreement.params.tau, *_list_picks(agreement.params)]))
    picks = ""
    if own.top_recall is not None:
        picks = f", recall {_two(own.top_recall)}, regret {_two(own.regret)}"
    return f"{held_out}: tau {_two(own.tau)}{picks} (#params {theirs})"


def _doubt_combined(e: CombinedEvidence) -> str:
    """At full size, which has no score, what small images tell of attention does not count."""
    return _compare_picks(e.agreement, None if e.relative else e.without_attention)


def _doubt_function(e: FunctionEvidence) -> str:
    way = f"; `smt-nas validate {e.evaluator}` tells" if e.importable else ""
    return f": {_UNKNOWN}{way}"


@dataclass(frozen=True)
class _Words:
    """How one kind of evidence is told.

    Attributes:
        whole: all that is known, after the evaluator's name.
        figure: what the figure is, in a few words.
        doubt: how well it orders networks, in a few words after the name; None where it is sure.
    """

    whole: Callable[[Any], str]
    figure: Callable[[Any], str]
    doubt: Callable[[Any], str | None]


_WORDS: dict[type[Any], _Words] = {
    PublishedEvidence: _Words(_published, _name_score, lambda e: _compare_picks(e.agreement)),
    BenchEvidence: _Words(
        _bench,
        lambda e: "points of top-1 above the published pattern, predicted",
        lambda e: _compare_picks(e.agreement),
    ),
    FamilyEvidence: _Words(_family, _name_score, _doubt_family),
    CombinedEvidence: _Words(_combined, _name_score, _doubt_combined),
    ProxyEvidence: _Words(
        _proxy, lambda e: "a proxy, not an accuracy", lambda e: _compare_picks(e.agreement)
    ),
    TrainingEvidence: _Words(
        _training,
        lambda e: f"{_name_training(e)}, trained{_warn_of_few_updates(e)}",
        lambda e: ": trained, but short; the order may change in a full training",
    ),
    SupernetEvidence: _Words(
        _supernet,
        _name_inherited,
        lambda e: f": {_UNKNOWN}; `smt-nas validate {e.evaluator} --on BENCH` tells",
    ),
    FunctionEvidence: _Words(_function, lambda e: "your own function", _doubt_function),
    TableEvidence: _Words(_table, _table, lambda e: None),
    UnknownEvidence: _Words(_unknown, lambda e: e.description, lambda e: f": {_UNKNOWN}"),
}
