"""What an evaluator's figures are and what they rest on, in one line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from smt_nas.evaluators.evidence import (
    AnyEvidence,
    BenchEvidence,
    CombinedEvidence,
    FunctionEvidence,
    ProxyEvidence,
    PublishedEvidence,
    TableEvidence,
    TrainingEvidence,
    UnknownEvidence,
)
from smt_nas.evaluators.published_agreement import BenchAgreement, RankAgreement

_BENCH = "SMT-Bench-mini"
_UNKNOWN = "nothing is known of how well it orders networks"


def describe_evidence(evidence: AnyEvidence | str) -> str:
    """One line that begins with the evaluator's name; the sentence itself in runs of before."""
    if isinstance(evidence, str):
        return evidence
    return f"{evidence.evaluator}: {_WORDS[type(evidence)](evidence)}"


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


def _combined(e: CombinedEvidence) -> str:
    leads = e.agreement is not None and e.agreement.own.leads
    best = "; nothing that needs no data is better beyond doubt" if leads else ""
    without = e.without_attention
    left = "" if without is None else f" ({_agreement(without)} without it)"
    figure = _SCORE if e.relative else "expected ImageNet-1K top-1, predicted"
    return (
        f"{figure}: the level by capacity, from published networks; the "
        f"topology by networks trained on small images ({_source(e)}{best}); that this carries "
        "over is assumed, but for attention, where small images contradict the paper: it counts "
        f"for nothing at full size{left}"
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
    few = e.few_updates
    in_vain = (
        "" if few is None else f" ({few} updates: few networks learn much from them; more --epochs)"
    )
    return (
        f"val top-1 after {e.rungs[-1]} epochs on {e.data} ({e.images:,} images), {every}; "
        f"trained, but short{in_vain}: the order may change in a full training. The predictor "
        f"chooses the first networks{_aside(e.guess)}."
    )


def _function(e: FunctionEvidence) -> str:
    line = f"your own function; {_UNKNOWN}."
    if not e.importable:
        return line
    return f"{line} `smt-nas validate {e.evaluator} --on smt-bench-mini` finds out."


def _table(e: TableEvidence) -> str:
    return f"{e.networks} networks of a table"


def _unknown(e: UnknownEvidence) -> str:
    return f"{e.description}; {_UNKNOWN}"


def _source(e: BenchEvidence | CombinedEvidence) -> str:
    """The bench, and what is known of it."""
    if e.bench is not None:
        return f"{e.bench}, {e.networks} networks"
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


_WORDS: dict[type[Any], Callable[[Any], str]] = {
    PublishedEvidence: _published,
    BenchEvidence: _bench,
    CombinedEvidence: _combined,
    ProxyEvidence: _proxy,
    TrainingEvidence: _training,
    FunctionEvidence: _function,
    TableEvidence: _table,
    UnknownEvidence: _unknown,
}
