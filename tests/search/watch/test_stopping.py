"""A search that stops by time, by a stalled hypervolume, or by Ctrl-C once what runs is done."""

import signal

import pytest

from smt_nas.errors import ConfigError
from smt_nas.evaluators import FunctionEvaluator
from smt_nas.search import Settings, create_search, resume_search
from smt_nas.search.loop.listener import NullSearchProgress
from smt_nas.search.stop_rule import StopRule, read_stop_rule
from tests.fakes.interrupts import raised_interrupts
from tests.fakes.terminal import Clock

FREE = {"space": "smt_micro", "strategy": "random", "verify": False, "n": 100, "batch": 8}


class Heard(NullSearchProgress):
    def __init__(self):
        self.events = []

    def stopped(self, reason, rule, tried):
        self.events.append((reason, tried))

    def finishing(self):
        self.events.append("finishing")


class Minute:
    """Each network takes a minute of a clock that stands still otherwise."""

    def __init__(self):
        self.clock = Clock()

    def __call__(self, arch):
        self.clock.now += 60.0
        return float(arch.stages[0].depth)


def run(search, minute=None):
    if minute is not None:
        search.clock = minute.clock
        search.__post_init__()
    return search.run()


def test_after_its_minutes_no_network_is_begun_and_more_minutes_go_on(tmp_path):
    minute, heard = Minute(), Heard()
    settings = Settings(**FREE, objectives=("score", "macs"), stop=StopRule(minutes=5))
    evaluator = FunctionEvaluator(minute)
    search = create_search(settings, tmp_path / "r", evaluator=evaluator, listener=heard)
    outcome = run(search, minute)
    assert len(outcome.trials) == 5 and outcome.finished and outcome.stopped_by == "minutes"
    assert heard.events == [("minutes", 5)] and (tmp_path / "r/front.csv").is_file()
    again = resume_search(tmp_path / "r", evaluator=evaluator, listener=heard)
    assert len(run(again, Minute()).trials) == 5  # the time of both starts counts
    assert resume_search(tmp_path / "r", read_only=True).outcome().finished


def test_a_hypervolume_that_stalls_ends_the_search_whenever_it_is_asked(tmp_path):
    heard = Heard()
    settings = Settings(**FREE, objectives=("score",), stop=StopRule(hv_stall=2))
    evaluator = FunctionEvaluator(lambda arch: 1.0)
    outcome = create_search(settings, tmp_path / "r", evaluator=evaluator, listener=heard).run()
    assert len(outcome.trials) == 24 and heard.events == [("hv-stall", 24)]
    assert outcome.finished and outcome.stopped_by == "hv-stall"
    assert len(resume_search(tmp_path / "r", evaluator=evaluator).run().trials) == 24


def rate_and_interrupt(at, times=1):
    calls = []

    def rate(arch):
        calls.append(arch)
        if len(calls) == at:
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)
        return 1.0

    return FunctionEvaluator(rate)


@pytest.mark.parametrize(("times", "kept"), [(1, 3), (2, 2)])
def test_ctrl_c_finishes_what_runs_and_twice_it_does_not(tmp_path, times, kept):
    settings = Settings(**FREE, objectives=("score", "macs"))
    search = create_search(
        settings, tmp_path / "r", evaluator=rate_and_interrupt(3, times), listener=Heard()
    )
    with raised_interrupts():
        outcome = search.run()
    assert outcome.interrupted and not outcome.finished
    assert len(outcome.trials) == kept and (tmp_path / "r/front.csv").is_file()


@pytest.mark.parametrize(
    ("minutes", "until", "told"),
    [
        (0.0, None, "--minutes: must be more than 0 (got 0)"),
        (float("nan"), None, "--minutes: must be more than 0 (got nan)"),
        (None, "hv-stall", "--until: must be hv-stall:R, with R rounds from 1 (got 'hv-stall')"),
        (None, "hv-stall:0", "(got 'hv-stall:0')"),
        (None, "never", "(got 'never')"),
    ],
)
def test_nonsense_is_told_in_one_line(minutes, until, told):
    with pytest.raises(ConfigError) as error:
        read_stop_rule(minutes, until)
    assert told in str(error.value) and "\n" not in str(error.value)


def test_a_rule_is_read_from_its_words():
    assert read_stop_rule(2.5, "hv-stall:3") == StopRule(minutes=2.5, hv_stall=3)
    assert not read_stop_rule(None, None).is_set
