"""What a person sees while a search works: at 80 and 120 columns, and in a pipe."""

from dataclasses import replace

import pytest
from rich.console import Console
from rich.progress import Progress

from smt_nas.cli.talk import PLAIN_EVERY_S, Talk
from smt_nas.report.search.status import StatusPanel, describe_best, describe_status
from smt_nas.report.sparkline import sparkline
from smt_nas.search.loop.status import measure_status
from smt_nas.search.proposal.strategy import SurrogateAccuracy
from smt_nas.search.storage.study_notes import StudyNotes
from tests.fakes.searches import make_baselines, make_problem, make_trials, sample
from tests.fakes.terminal import Bars, Clock


@pytest.fixture
def status():
    problem = make_problem("12MMACs", objectives=("score", "macs"))
    notes = StudyNotes({}, lambda name, value: None)
    for first, tau in ((8, 0.4), (16, 0.7125)):
        notes.write_surrogate_accuracy(
            SurrogateAccuracy(first=first, n=8, kendall_tau=tau, spearman_rho=None, rmse=0.1)
        )
    trials = make_trials(problem, sample(300))
    return measure_status(problem, trials, notes, make_baselines(problem), 400)


def drawn(status, columns):
    console = Console(width=columns, color_system=None, markup=False, emoji=False)
    with console.capture() as captured:
        console.print(StatusPanel(status, "about 4:10 left"))
    return captured.get().splitlines()


@pytest.mark.parametrize("columns", [80, 120])
def test_the_panel_tells_everything_and_fits(status, columns):
    lines = drawn(status, columns)
    assert max(map(len, lines)) == min(columns, 100)
    text = " ".join(lines)
    assert f"evaluated 300 of 400   failed 0   front {status.front}   about 4:10 left" in text
    assert f"hypervolume {status.hypervolume[-1]:.3f} " in text and "surrogate tau 0.71" in text
    assert "best: " in text and "x the MACs" in text and "of smt_t" in text
    assert len(lines) == 5


def test_what_is_not_known_is_left_out(status):
    problem = make_problem()
    empty = measure_status(problem, [], StudyNotes({}, print), make_baselines(problem), None)
    assert describe_status(empty) == "front 0" and describe_best(empty) is None
    text = " ".join(drawn(empty, 80))
    assert "evaluated 0   failed 0   front 0" in text and "tau" not in text


def test_the_curve_is_no_longer_than_asked_and_never_falls(status):
    assert len(status.hypervolume) == 200
    assert list(status.hypervolume) == sorted(status.hypervolume)
    assert sparkline([0.0, 0.5, 1.0]) == "▁▅█" and sparkline([]) == ""
    line = sparkline(status.hypervolume, 30)
    assert len(line) == 30 and line[-1] == "█" and list(line) == sorted(line)


def test_in_a_pipe_a_line_a_minute_says_how_it_stands(status, capsys):
    clock, looks = Clock(), []

    def measure():
        looks.append(clock.now)
        return status

    talk = Talk(Bars(), ["survey", "screen", "evaluate"], clock)
    for done in range(1, 6):
        clock.now += PLAIN_EVERY_S / 2
        talk.progressed(measure)
        talk.step("evaluate", done, 12)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and len(looks) == 2
    assert lines[0].startswith("3/3 evaluate networks: 2 of 12")
    assert lines[0].endswith(f"; {describe_status(status)}")


def test_a_look_is_taken_seldom_enough_to_cost_little(status):
    clock, looks = Clock(), []

    def measure():
        looks.append(clock.now)
        clock.now += 0.5
        return status

    talk = Talk(Progress(disable=False), (), clock)
    for _ in range(100):
        talk.progressed(measure)
        clock.now += 0.25
    assert len(looks) == 3  # each took half a second: 20 times that lies between


def test_the_panel_shows_in_the_end_how_it_ended(status):
    clock = Clock()
    talk = Talk(Progress(disable=False), (), clock)
    talk.progressed(lambda: status)
    ended = replace(status, tried=400)
    talk.progressed(lambda: ended)
    assert "evaluated 300 of 400" in shown(talk)
    talk.catch_up()
    assert "evaluated 400 of 400" in shown(talk)


def shown(talk):
    console = Console(width=80, color_system=None)
    with console.capture() as captured:
        console.print(talk.render())
    return captured.get()
