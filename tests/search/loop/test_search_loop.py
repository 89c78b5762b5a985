"""The loop: rounds, events, verification that makes room, and what comes out."""

import contextlib
import signal

import pytest

from smt_nas.arch import PRESETS
from smt_nas.evaluators import FunctionEvaluator
from smt_nas.metrics import METRICS
from smt_nas.profilers import count_check
from smt_nas.search import Settings, create_search, resume_search
from smt_nas.search.loop import search_loop, verify
from smt_nas.search.loop.listener import NullSearchProgress
from smt_nas.search.results.results import make_frame, write_front
from smt_nas.search.storage.study_notes import Timing
from tests.fakes import devices as fakes
from tests.fakes.interrupts import raised_interrupts
from tests.fakes.screening import short_screening  # noqa: F401

pytestmark = pytest.mark.usefixtures("short_screening")


EVALUATOR = FunctionEvaluator(lambda arch: float(arch.stages[2].dim + arch.stages[0].depth))


class Events(NullSearchProgress):
    """Keeps what it hears."""

    def __init__(self):
        self.heard = []

    def surveyed(self, survey):
        self.heard.append(("surveyed", survey.problem.space.name))

    def exhausted(self, space, tried, wanted):
        self.heard.append(("exhausted", space, tried, wanted))

    def resumed(self, tried, wanted):
        self.heard.append(("resumed", tried, wanted))

    def interrupted(self):
        self.heard.append(("interrupted",))

    def say(self, text):
        self.heard.append(("said", text.partition(",")[0]))

    def step(self, phase, done, total):
        self.heard.append((phase, done, total))


@pytest.fixture(autouse=True)
def devices(monkeypatch):
    return fakes.install(monkeypatch)


def begin(out, evaluator=EVALUATOR, listener=None, **changes):
    asked = {"space": "smt_micro", "strategy": "random", "n": 6, "verify": False}
    asked |= {"objectives": ("score", "macs"), "budgets": ("12MMACs",)}
    return create_search(Settings(**asked | changes), out, evaluator=evaluator, listener=listener)


def test_a_search_tells_its_survey_and_each_evaluation(tmp_path):
    events = Events()
    outcome = begin(tmp_path / "r", listener=events).run()
    steps = [("evaluate", i, 6) for i in range(7)]
    assert [event for event in events.heard if event[0] != "said"] == [
        ("surveyed", "smt_micro"),
        ("screen", 0, None),
        *steps,
    ]
    assert outcome.finished and len(outcome.trials) == 6 and not outcome.interrupted
    assert [b.name for b in outcome.baselines] == ["smt_t", "smt_s", "smt_b", "smt_l"]
    assert all(b.values["score"] > 0 for b in outcome.baselines)  # by the same evaluator


def test_an_outcome_is_a_table_which_is_what_front_csv_holds(tmp_path):
    outcome = begin(tmp_path / "r").run()
    frame = outcome.frame()
    assert frame.equals(make_frame(outcome.front, outcome.baselines))
    text = frame.to_csv(index=False, float_format="%.10g", lineterminator="\n")
    assert (tmp_path / "r/front.csv").read_text() == text


class Swallower:
    """An evaluator that drops the Ctrl-C that comes while it runs, as a weakref callback does."""

    name, objective, fingerprint = "swallower", METRICS["score"], "0" * 12
    evidence = EVALUATOR.evidence

    def evaluate(self, archs):
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        return EVALUATOR.evaluate(archs)


def test_a_dropped_interrupt_stops_the_search_after_the_trial(tmp_path):
    events = Events()
    with raised_interrupts():
        outcome = begin(tmp_path / "r", Swallower(), events).run()
    assert outcome.interrupted and not outcome.finished
    assert len(outcome.trials) == 1 and ("interrupted",) in events.heard


@pytest.mark.parametrize(("times", "raised"), [(1, True), (2, False)])
def test_ctrl_c_while_the_front_is_written_waits_for_it_and_twice_does_not(
    tmp_path, monkeypatch, times, raised
):
    search, reached = begin(tmp_path / "r", n=2), []

    def write_after_ctrl_c(*arguments):
        for _ in range(times):
            signal.raise_signal(signal.SIGINT)
        reached.append(True)
        write_front(*arguments)

    monkeypatch.setattr(search_loop, "write_front", write_after_ctrl_c)
    with raised_interrupts(), pytest.raises(KeyboardInterrupt):
        search.run()
    assert bool(reached) == (tmp_path / "r/front.csv").is_file() == raised
    monkeypatch.undo()
    again = resume_search(tmp_path / "r", evaluator=EVALUATOR).run()
    assert again.finished and (tmp_path / "r/front.csv").is_file()


def test_the_score_is_compared_with_costs_from_three_trials_on(tmp_path):
    assert begin(tmp_path / "r", n=2).run().kendall_taus == {}
    taus = resume_search(tmp_path / "r", n=6, evaluator=EVALUATOR).run().kendall_taus
    assert set(taus) == {"params", "macs"} and all(-1 <= tau <= 1 for tau in taus.values())


class Trainer:
    """Trains a round as a whole; the first time the user stops it after two networks."""

    name, objective, fingerprint = "trainer", METRICS["score"], "0" * 12
    evidence, baselines = EVALUATOR.evidence, tuple(PRESETS)

    def __init__(self):
        self.trained = {}
        self.rounds = 0

    def in_workdir(self, folder, workers=None, listener=None):
        return self

    def evaluate(self, archs):
        self.rounds += 1
        for arch in archs:
            if len(self.trained) == 2 and self.rounds == 1:
                raise KeyboardInterrupt
            self.trained[arch.key] = EVALUATOR.evaluate([arch])[0]
        return [self.trained[arch.key] for arch in archs]

    def read_finished(self, archs):
        return {arch.key: self.trained[arch.key] for arch in archs if arch.key in self.trained}


def test_ctrl_c_in_a_round_keeps_what_is_evaluated_on_the_front(tmp_path):
    whole = begin(tmp_path / "whole").run()
    events, trainer = Events(), Trainer()
    stopped = begin(tmp_path / "r", trainer, events).run()
    assert stopped.interrupted and not stopped.finished
    assert [t.key for t in stopped.trials] == list(trainer.trained)
    assert [t.key for t in whole.trials][:2] == list(trainer.trained)
    assert stopped.front and {r.arch.key for r in stopped.front} <= trainer.trained.keys()
    assert ("said", "2 of the 6 networks of this round are evaluated") in events.heard
    read = resume_search(tmp_path / "r", read_only=True).outcome()
    assert read.frame().equals(stopped.frame()) and not read.finished
    assert (tmp_path / "r/front/0.yaml").is_file()

    later = Events()
    resumed = resume_search(tmp_path / "r", evaluator=trainer, listener=later).run()
    assert resumed.finished and later.heard[0] == ("resumed", 2, 6)
    assert [(t.number, t.key) for t in resumed.trials] == [(t.number, t.key) for t in whole.trials]
    assert resumed.frame().equals(whole.frame())


def test_what_was_evaluated_of_a_round_is_no_part_of_a_finished_search(tmp_path):
    trainer = Trainer()
    begin(tmp_path / "r", trainer).run()
    outcome = resume_search(tmp_path / "r", n=1, evaluator=trainer).run()
    assert outcome.finished and len(outcome.trials) == 1


def test_ctrl_c_writes_the_front_of_what_is_there(tmp_path):
    calls = []

    def stop_at_the_fourth(arch):
        calls.append(arch)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return float(len(calls))

    events = Events()
    outcome = begin(tmp_path / "r", FunctionEvaluator(stop_at_the_fourth), events).run()
    assert outcome.interrupted and not outcome.finished and len(outcome.trials) == 3
    assert events.heard[-1] == ("interrupted",) and (tmp_path / "r/front.csv").is_file()
    again = resume_search(tmp_path / "r", evaluator=EVALUATOR, accept_changed_evaluator=True)
    assert again.run().finished


def test_a_network_that_fails_verification_makes_room(tmp_path, monkeypatch):
    begun = begin(tmp_path / "r", n=12)
    before = begun.run().front
    best = before[0].arch.key

    def check_counts(arch):
        return count_check.CountCheck({}, "broke" if arch.key == best else None)

    def measure_group(group, reference, target):
        return [Timing(latency_ms=1.0, spread_ms=0.1, samples=9) for _ in group]

    monkeypatch.setattr(count_check, "check_counts", check_counts)
    monkeypatch.setattr(verify, "measure_group", measure_group)
    begun.directory.settings = begun.directory.settings.model_copy(update={"verify": True})
    outcome = begun.run()
    assert outcome.finished
    assert [(r.arch.key, r.failure) for r in outcome.failed_verification] == [(best, "broke")]
    assert best not in {r.arch.key for r in outcome.front}
    assert {r.arch.key for r in before[1:]} <= {r.arch.key for r in outcome.front}
    assert all(r.measured["latency_ms"].value == 1.0 for r in outcome.front)
