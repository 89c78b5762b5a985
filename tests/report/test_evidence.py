"""What evaluators rest on, in short lines: before a search, and below its front."""

import pytest

from smt_nas.evaluators import EvaluatorChoice, make_evaluator
from smt_nas.evaluators.evidence import FunctionEvidence, TableEvidence, TrainingEvidence
from smt_nas.report.evidence import describe_doubt, describe_evidence, summarise_evidence
from smt_nas.space import SearchSpace


def evidence_of(name, space="smt"):
    evaluator = make_evaluator(EvaluatorChoice(name=name))
    for_space = getattr(evaluator, "for_space", lambda _: evaluator)
    return for_space(SearchSpace.load(space)).evidence


@pytest.mark.parametrize("name", ["joint", "predictor", "capacity", "zero-cost"])
def test_two_short_lines_of_which_the_second_has_all_three_figures(name):
    evidence = evidence_of(name)
    first, second = summarise_evidence(evidence), describe_doubt(evidence)
    assert first.startswith(f"{name}: ") and second.startswith(name)
    assert max(len(first), len(second)) <= 85 and first != second
    assert all(word in second for word in ("tau ", "recall ", "regret ", "#params "))


def test_joint_at_full_size_is_told_without_what_does_not_count_there():
    full, small = evidence_of("joint"), evidence_of("joint", "smt_micro")
    assert summarise_evidence(full) == "joint: expected ImageNet-1K top-1, predicted."
    assert "a score that only orders networks" in summarise_evidence(small)
    assert f"tau {full.without_attention.tau:.2f}," in describe_doubt(full)
    assert f"tau {small.agreement.own.tau:.2f}," in describe_doubt(small)


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
