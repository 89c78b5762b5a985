"""The front as a table, as notes and as a document."""

import json

import pytest
from rich.console import Console

from smt_nas.evaluators import Evaluation, EvaluatorChoice, make_evaluator
from smt_nas.report.evidence import describe_evidence
from smt_nas.report.search.front import NOTES, ROWS, WIDTH, as_document, front_notes, front_table
from smt_nas.search.storage.study_notes import Timing, Verification
from tests.fakes import devices as fakes
from tests.fakes.searches import make_outcome, make_problem, make_trials, sample


@pytest.fixture(autouse=True)
def devices(monkeypatch):
    return fakes.install(monkeypatch)


def make(*budgets, n=20, evaluations=None, objectives=("score", "macs", "params"), **changes):
    problem = make_problem(*budgets, objectives=objectives)
    return make_outcome(problem, make_trials(problem, sample(n), evaluations), **changes)


def print_table(outcome, show_all=False):
    console = Console(width=WIDTH)
    with console.capture() as captured:
        console.print(front_table(outcome, show_all))
    return captured.get().splitlines()


def test_a_table_fits_a_terminal_and_ends_with_the_presets():
    lines = print_table(make("12MMACs", "5ms@a100", "9ms", objectives=("score", "latency", "macs")))
    assert " networks, of 20 tried in space smt_micro, at most 12 MMACs, at most 5" in lines[0]
    assert max(map(len, lines)) <= WIDTH and not any("…" in line for line in lines)
    assert [line.split()[0] for line in lines[-4:]] == ["smt_t", "smt_s", "smt_b", "smt_l"]
    assert print_table(make())[0].endswith(", no budget")


def test_a_long_front_is_thinned_out_with_both_ends_unless_all_is_shown():
    outcome = make(n=400)
    size = len(outcome.front)
    assert size > ROWS
    names = [line.split()[0] for line in print_table(outcome)]
    shown = [int(name) for name in names if name.isdigit()]
    assert len(shown) == ROWS and (shown[0], shown[-1]) == (0, size - 1)
    assert sum(line.split()[0].isdigit() for line in print_table(outcome, True)) == size
    assert print_table(outcome)[0].startswith(f"Front of {size} networks ({ROWS} shown), of 400")
    assert print_table(outcome, True)[0].startswith(f"Front of {size} networks, of 400 tried")
    noted = make(n=400, kendall_taus={"params": 1.0})
    assert front_notes(noted, False)[1] == "More: smt-nas front runs/fake --all --evidence"
    assert front_notes(noted, True)[1] == "More: smt-nas front runs/fake --evidence"


def test_trials_without_a_value_are_told_by_kind():
    evaluations = [
        Evaluation(1.0, "function"),
        Evaluation(None, "function", failure="ValueError: odd"),
        Evaluation(None, "trained", failure="stopped at epoch 1", stopped=True),
    ]
    outcome = make(n=3, evaluations=evaluations)
    notes = front_notes(outcome, False)
    assert "1 of 3 trials failed, e.g.: ValueError: odd" in notes
    assert "1 of 3 trials stopped early, e.g.: stopped at epoch 1" in notes
    document = as_document(outcome)
    assert (document["trials"], document["failed"], document["stopped"]) == (3, 1, 1)


def test_the_first_note_says_what_to_run_next():
    outcome = make()
    assert front_notes(outcome, False)[0] == "Next: smt-nas profile runs/fake/front/0.yaml"
    unfinished = make(finished=False)
    assert front_notes(unfinished, False)[:2] == [
        "This run is not finished.",
        "Next: smt-nas resume runs/fake",
    ]
    failures = [Evaluation(None, "function", failure="broke")] * 2
    assert front_notes(make(n=2, evaluations=failures), False)[0].startswith(
        "Nothing is on the front. Mend what failed"
    )


def test_what_to_run_next_is_in_the_form_that_was_searched_in(monkeypatch):
    fakes.install(monkeypatch)
    problem = make_problem("5ms@cpu:fused", objectives=("score", "latency"))
    notes = front_notes(make_outcome(problem, make_trials(problem, sample(3))), False)
    assert any(n.startswith("Next: ") and n.endswith(".yaml --form fused") for n in notes)


def test_op_counts_and_failed_verifications_are_told():
    problem = make_problem()
    trials = make_trials(problem, sample(20))
    front = make_outcome(problem, trials).front
    counted = [
        r.with_verification(problem, Verification({"torch": 7, "thop": 6}, None)) for r in front[1:]
    ]
    failed = front[0].with_verification(problem, Verification({}, "its logits are not finite"))
    outcome = make_outcome(problem, trials, front=counted, failed_verification=[failed])
    notes = front_notes(outcome, True, evidence=True)
    key = failed.arch.key
    assert f"Left out, it failed verification: {key}: its logits are not finite" in notes
    assert any("torch's counter agrees on every row" in note for note in notes)
    assert as_document(outcome)["front"][0]["witnesses"] == {"torch": 7, "thop": 6}


def test_a_tau_to_the_costs_keeps_a_score_from_being_taken_for_accuracy():
    notes = front_notes(make(kendall_taus={"params": 0.91, "macs": 0.5}), True)
    assert "score: its Kendall tau in this run is 0.91 to #params, 0.50 to #macs." in notes


def test_a_document_is_plain_json_without_the_storage():
    outcome = make("9ms", objectives=("score", "latency"))
    document = json.loads(json.dumps(as_document(outcome), allow_nan=False))
    assert document["schema"] == 2 and "storage" not in document["settings"]
    assert document["settings"]["verify"] is False
    entry = document["front"][0]
    assert set(entry) >= {"name", "key", "values", "provenance", "intervals", "measured", "breaks"}
    assert entry["breaks"] == [] and entry["measured"] == {}
    assert document["targets"]["latency_ms"]["forecast"]["basis"] == "sheet"


def test_at_most_six_short_notes_stand_below_a_table_and_all_in_the_evidence():
    problem = make_problem("5ms", objectives=("score", "latency", "macs", "params"))
    evidence = make_evaluator(EvaluatorChoice(name="joint")).for_space(problem.space).evidence
    trials = make_trials(problem, sample(400))
    (target,) = problem.local_targets
    timing = Timing(latency_ms=6.0, spread_ms=0.1, samples=9, status="loaded")
    verification = Verification({"torch": 7}, None, {str(target): timing})
    front = [
        r.with_verification(problem, verification) for r in make_outcome(problem, trials).front
    ]
    outcome = make_outcome(
        problem, trials, front=front, evidence=evidence, kendall_taus={"params": 0.9, "macs": 0.8}
    )
    notes = front_notes(outcome, False)
    assert [line.split(":")[0] for line in notes[:2]] == ["Next", "More"]
    assert len(notes) == 2 + NOTES and max(map(len, notes)) <= WIDTH
    full = front_notes(outcome, False, evidence=True)
    assert len(full) > len(notes) and f"{describe_evidence(evidence)}." in full
    assert as_document(outcome)["notes"] == full[1:]


def test_one_network_is_a_network():
    problem = make_problem()
    assert print_table(make_outcome(problem, make_trials(problem, sample(1))))[0].startswith(
        "Front of 1 network, of 1 tried"
    )
