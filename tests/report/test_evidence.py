"""What evaluators rest on, in short lines: before a search, and below its front."""

from dataclasses import replace

import pytest

from smt_nas.evaluators import EvaluatorChoice, make_evaluator
from smt_nas.evaluators.evidence import (
    CombinedEvidence,
    FamilyEvidence,
    FunctionEvidence,
    TableEvidence,
    TrainingEvidence,
)
from smt_nas.evaluators.published_agreement import BenchAgreement, RankAgreement
from smt_nas.report.evidence import describe_doubt, describe_evidence, summarise_evidence
from smt_nas.space import SearchSpace


def evidence_of(name, space="smt"):
    evaluator = make_evaluator(EvaluatorChoice(name=name))
    for_space = getattr(evaluator, "for_space", lambda _: evaluator)
    return for_space(SearchSpace.load(space)).evidence


@pytest.mark.parametrize(
    ("name", "space"),
    [("joint", "smt_micro"), ("predictor", "smt"), ("capacity", "smt"), ("zero-cost", "smt")],
)
def test_two_short_lines_of_which_the_second_has_all_three_figures(name, space):
    evidence = evidence_of(name, space)
    first, second = summarise_evidence(evidence), describe_doubt(evidence)
    assert first.startswith(f"{name}: ") and second.startswith(name)
    assert max(len(first), len(second)) <= 85 and first != second
    assert all(word in second for word in ("tau ", "recall ", "regret ", "#params "))


def test_joint_at_full_size_tells_its_error_in_a_family_left_out():
    evidence = evidence_of("joint")
    a = evidence.agreement
    assert summarise_evidence(evidence) == "joint: expected ImageNet-1K top-1, predicted."
    assert describe_doubt(evidence) == (
        f"joint: mean error {a.error:.2f} points in a line left out (costs alone "
        f"{a.costs_error:.2f})."
    )
    whole = describe_evidence(evidence)
    for words in (
        f"{a.networks} networks of {a.families} families",
        f"with none known {a.error_unknown:.2f} (costs alone {a.costs_error_unknown:.2f})",
        f"the law of capacity {a.law_error:.2f}",
        "attention, kernel sets and expand ratios, of which no published data tell",
    ):
        assert words in whole
    unknown = FamilyEvidence(evaluator="joint")
    assert describe_doubt(unknown).startswith("joint: nothing is known")
    assert "families" not in describe_evidence(unknown)


def test_joint_for_small_images_is_told_by_the_bench():
    small = evidence_of("joint", "smt_micro")
    assert "a score that only orders networks" in summarise_evidence(small)
    assert f"tau {small.agreement.own.tau:.2f}," in describe_doubt(small)
    assert "does not carry over to ImageNet's" in describe_evidence(small)


def test_a_run_of_before_tells_what_counted_at_full_size_then():
    agreement = RankAgreement(0.6, 0.4, beats_params=True, held_out=True, leads=False)
    old = CombinedEvidence(
        evaluator="joint",
        agreement=BenchAgreement(agreement, agreement),
        without_attention=replace(agreement, tau=0.55),
    )
    assert "tau 0.55" in describe_doubt(old)
    assert "that this carries over is assumed" in describe_evidence(old)


def test_what_has_no_agreement_says_what_is_known():
    own = FunctionEvidence(evaluator="mine.py:rate", importable=True)
    assert summarise_evidence(own) == "mine.py:rate: your own function."
    assert describe_doubt(own).endswith("`smt-nas validate mine.py:rate` tells.")
    training = TrainingEvidence(evaluator="short-train", data="digits", images=1, rungs=(1,))
    assert summarise_evidence(training) == (
        "short-train: val top-1 after 1 epoch on digits (1 image), trained."
    )
    assert "the order may change" in describe_doubt(training)
    assert describe_doubt(TableEvidence(evaluator="replay", networks=3)) is None


def test_a_sentence_of_a_run_of_before_is_shortened_but_kept_whole_in_full():
    sentence = "old: " + "a long story " * 20
    assert len(summarise_evidence(sentence)) <= 80 and describe_evidence(sentence) == sentence
