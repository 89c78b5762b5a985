"""What a study keeps beside its trials, under the stored names of the first version."""

import pytest

from smt_nas.evaluators import Evaluation
from smt_nas.search.problem.objectives import BEFORE_DEVICES, LatencyTarget
from smt_nas.search.storage.study_notes import StudyNotes, Timing, TimingFailure, Verification

KEY = "0123456789ab"
TARGET = LatencyTarget(
    place=BEFORE_DEVICES.place.model_copy(update={"label": "a100", "device": "a100"}),
    conditions=BEFORE_DEVICES.conditions.model_copy(update={"batch": 8}),
)
TIMING = Timing(latency_ms=2.0, spread_ms=0.1, samples=9, status="ok", versus=0.5)


@pytest.fixture
def stored():
    return {}


@pytest.fixture
def notes(stored):
    return StudyNotes({}, stored.__setitem__)


def test_the_stored_layout_is_that_of_the_first_version(notes, stored):
    notes.write_identity({"seed": 0})
    notes.write_exhausted()
    notes.write_op_counts(KEY, {"torch": 5, "thop": None}, None)
    notes.write_timing(KEY, BEFORE_DEVICES, TIMING)
    notes.write_timing(KEY, TARGET, TimingFailure(reason="no memory"))
    notes.write_baseline("smt_t", Evaluation(80.0, "predicted"))
    assert stored.pop("baseline:smt_t")["value"] == 80.0
    assert stored == {
        "search": {"seed": 0},
        "exhausted": True,
        f"proof:{KEY}": {"witnesses": {"torch": 5, "thop": None}, "reason": None},
        f"latency:{KEY}": {
            "latency_ms": 2.0,
            "spread_ms": 0.1,
            "samples": 9,
            "status": "ok",
            "versus": 0.5,
        },
        f"latency:{KEY}@a100:b8:fp32": {"failed": "no memory"},
    }


def test_what_was_written_is_read_at_once_and_later(notes, stored):
    notes.write_op_counts(KEY, {"torch": 5}, None)
    notes.write_timing(KEY, BEFORE_DEVICES, TIMING)
    notes.write_timing(KEY, TARGET, TimingFailure(reason="no memory"))
    expected = Verification(
        {"torch": 5}, None, {str(BEFORE_DEVICES): TIMING}, {str(TARGET): "no memory"}
    )
    for reader in (notes, StudyNotes(stored, {}.__setitem__)):
        assert reader.read_verification(KEY, [BEFORE_DEVICES, TARGET]) == expected
        assert reader.read_verification("other") is None
    assert expected.is_complete([BEFORE_DEVICES, TARGET])
    assert not notes.read_verification(KEY, [BEFORE_DEVICES]).is_complete([TARGET])


def test_notes_of_the_oldest_studies_are_read():
    old = {
        f"latency:{KEY}": {"latency_ms": 2.0, "spread_ms": 0.1, "samples": 9},
        f"proof:{KEY}": {"witnesses": {}, "reason": "cannot be built"},
        "baseline:smt_t": [80.0, "proxy"],
        "baseline:smt_s": {"value": 1.0, "provenance": "proxy", "details": {}, "reason": None},
    }
    notes = StudyNotes(old, {}.__setitem__)
    assert notes.read_timing(KEY, BEFORE_DEVICES).status == "unknown"
    assert notes.failed_keys == {KEY}
    assert notes.read_verification(KEY).failure == "cannot be built"
    assert notes.read_baseline("smt_t") == Evaluation(80.0, "proxy")
    assert notes.read_baseline("smt_s") == Evaluation(1.0, "proxy")
    assert notes.read_baseline("smt_b") is None
    assert (notes.identity, notes.exhausted) == ({}, False)


def test_verifications_go_to_another_study_and_nothing_of_the_evaluator_does(notes):
    notes.write_identity({"seed": 0})
    notes.write_exhausted()
    notes.write_baseline("smt_t", Evaluation(80.0, "predicted"))
    notes.write_op_counts(KEY, {"torch": 5}, None)
    notes.write_timing(KEY, TARGET, TIMING)
    taken = {}
    other = StudyNotes({}, taken.__setitem__)
    notes.copy_verifications(other)
    assert set(taken) == {f"proof:{KEY}", f"latency:{KEY}@a100:b8:fp32"}
    assert other.read_verification(KEY, [TARGET]) == notes.read_verification(KEY, [TARGET])


def test_times_of_a_busy_minute_compare_with_those_of_a_quiet_one(notes):
    """Like networks took 176, 62 and 183 ms; the reference beside them 142, 50 and 148."""
    keys = ("0" * 12, "1" * 12, "2" * 12)
    for key, ms, beside in zip(keys, (176.0, 62.0, 183.0), (142.0, 50.0, 148.0), strict=True):
        notes.write_op_counts(key, {"torch": 5}, None)
        timing = Timing(
            latency_ms=ms,
            spread_ms=ms / 10,
            samples=9,
            status="loaded" if ms > 100 else "ok",
            versus=ms / beside,
            reference_ms=beside,
        )
        notes.write_timing(key, TARGET, timing)
    timings = [notes.read_verification(k, [TARGET]).timings[str(TARGET)] for k in keys]
    assert [t.latency_ms for t in timings] == pytest.approx([62.0] * 3, rel=0.003)
    assert [t.spread_ms for t in timings] == pytest.approx([6.2] * 3, rel=0.003)
    assert [t.status for t in timings] == ["loaded", "ok", "loaded"]
    assert sorted(notes.read_paces(TARGET)) == [50.0, 142.0, 148.0]
    assert notes.read_paces(BEFORE_DEVICES) == []


def test_studies_that_do_not_say_the_pace_are_read_as_they_are(notes):
    notes.write_op_counts(KEY, {"torch": 5}, None)
    notes.write_timing(KEY, TARGET, TIMING)
    assert notes.read_verification(KEY, [TARGET]).timings[str(TARGET)] == TIMING
