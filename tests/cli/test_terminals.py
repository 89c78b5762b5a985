"""On a terminal: what is said first, where lines end, what bars tell; and in pipes, that few do."""

import os
import signal
import subprocess
import sys

import pytest

from smt_nas.cli import console, talk
from tests.fakes.terminal import ROOT, Bars, Clock, run_in_terminal, seen

SMT_NAS = [sys.executable, "-m", "smt_nas"]
NO_LIBRARIES = """
import sys

class Ends:
    def find_spec(self, name, path=None, target=None):
        if name in ("torch", "optuna", "pandas", "sklearn", "pymoo"):
            sys.stderr.write(f"<{name}>\\n")
            sys.stderr.flush()
            raise SystemExit(7)

sys.meta_path.insert(0, Ends())
from smt_nas.cli import main
main()
"""
FIRST_LINES = {
    "search --budget 2.4GFLOPs": "Searching space smt within 2.4GFLOPs: 1 survey the space, 2 ",
    "search --data digits --space smt_micro": "Searching space smt_micro: 1 survey the space, 2 ",
    "resume runs/x": "Going on with runs/x: 1 open the run, 2 screen candidates, 3 ",
    "validate joint predictor": "Validating joint, predictor on smt-bench-mini: ",
    "profile smt_t": "Profiling smt_t on this machine: ",
    "profile smt_b --gpu a100": "Profiling smt_b on a100: ",
    "calibrate --space smt_micro": "Measuring the blocks of space smt_micro on cpu, for 10 min at ",
    "bench build --data digits": "Building a bench: 200 networks of space smt_micro, trained on ",
    "train smt_micro --data digits": "Training smt_micro on digits: ",
    "eval runs/x": "Evaluating runs/x: ",
}
LONG = "/a/very/long/path-of-many-words/" + "x" * 90 + ".yaml"
SENTENCE = f"{'some words and others, ' * 9}`smt-nas resume runs/of-mine --n 20` {LONG} and so on."


@pytest.mark.parametrize("words", FIRST_LINES)
def test_the_first_line_comes_before_anything_that_loads_for_seconds(words):
    text, code = run_in_terminal([sys.executable, "-c", NO_LIBRARIES, *words.split()])
    before, library, _ = text.partition("<")
    assert code == 7 and library
    assert " ".join(" ".join(seen(before)).split()).startswith(FIRST_LINES[words])


def test_in_a_pipe_the_first_line_waits_a_moment_for_an_error_that_comes_at_once():
    script = """
import typer
from smt_nas.cli import talk
talk.PLAIN_FIRST_S = float(SECONDS)
app = typer.Typer()

@app.command()
def work(context: typer.Context):
    talk.say_first(context, "first")
    WORK
    print("end")

app()
"""
    for seconds, work, printed in (
        # it waits for the line, or ends before it
        ("0", "import threading; [t.join() for t in threading.enumerate() if t.daemon]", "first"),
        ("86400", "raise SystemExit(1)", ""),
    ):
        code = script.replace("SECONDS", seconds).replace("WORK", work)
        done = subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT)}, capture_output=True
        )
        assert done.stderr.decode().strip() == printed


@pytest.mark.parametrize("columns", [80, 120, 200])
def test_lines_end_between_words_and_no_word_is_split(columns):
    script = f"from smt_nas.cli import console; console.say({SENTENCE!r}); "
    script += f"console.complain({SENTENCE!r}); console.show_notes(['  ' + {SENTENCE!r}])\n"
    script += "from smt_nas.cli.talk import talk\n"
    script += "from smt_nas.cli.training.training_talk import training\n"
    script += f"with talk() as listener: listener.say({SENTENCE!r})\n"
    script += f"with training() as listener: listener.say({SENTENCE!r})\n"
    lines = seen(run_in_terminal([sys.executable, "-c", script], columns)[0])
    assert all(len(line) <= columns or line.strip() == LONG for line in lines)
    words = " ".join(lines).split()
    assert words.count(LONG) == 5
    assert words == f"{SENTENCE} error: {SENTENCE} {SENTENCE} {SENTENCE} {SENTENCE}".split()
    assert sum("`smt-nas resume runs/of-mine --n 20`" in line for line in lines) == 5
    assert sum(line.startswith("  some words") for line in lines) >= 1


@pytest.mark.parametrize("columns", [80, 120, 200])
def test_lines_of_commands_end_between_words(columns, tmp_path):
    words = ["search", "--space", "smt_micro", "--budget", "1kMACs", "--out", tmp_path / "r"]
    lines = seen(run_in_terminal([*SMT_NAS, *words], columns)[0])
    error = " ".join(lines[next(i for i, x in enumerate(lines) if x.startswith("error:")) :])
    assert max(map(len, lines)) <= columns
    assert "no network of space smt_micro costs so little" in " ".join(error.split())


def test_a_pipe_has_no_width():
    script = f"from smt_nas.cli import console; console.say({SENTENCE!r}); "
    script += f"console.complain({SENTENCE!r})"
    for env in ({}, {"COLUMNS": "40"}):
        done = subprocess.run(
            [sys.executable, "-c", script], env={"PYTHONPATH": str(ROOT)} | env, capture_output=True
        )
        assert done.stderr.decode().splitlines() == [SENTENCE, f"error: {SENTENCE}"]


@pytest.mark.parametrize(
    ("env", "coloured", "longest"),
    [
        ({}, True, 120),
        ({"NO_COLOR": "1"}, False, 120),
        ({"COLUMNS": "60"}, True, 60),
        ({"TERM": "dumb"}, False, 120),
    ],
)
def test_what_a_terminal_says_of_itself_is_heeded(env, coloured, longest):
    script = f"from smt_nas.cli import console; console.complain({SENTENCE[:200]!r})\n"
    script += "from smt_nas.cli.talk import talk\n"
    script += "with talk() as t: t.step('survey', 0, None); t.step('evaluate', 1, 2)\n"
    text, _ = run_in_terminal([sys.executable, "-c", script], 120, env)
    assert ("\x1b[1;31m" in text) == coloured
    assert longest - 40 < max(len(line) for line in seen(text)) <= longest
    if env.get("TERM") == "dumb":
        assert "\x1b" not in text and "survey" not in text


def test_wide_characters_count_twice():
    assert console.wrap_words("漢字漢字 漢字 abc", 10) == "漢字漢字\n漢字 abc"


def test_ctrl_c_before_anything_is_kept_ends_in_a_line():
    sent = []

    def press(text, process):
        if "Searching space" in text and not sent:
            sent.append(process)
            os.kill(process, signal.SIGINT)

    text, code = run_in_terminal([*SMT_NAS, "search", "--budget", "2.4GFLOPs"], on_output=press)
    # Python ends by the signal itself where Ctrl-C fell into code that was made from a string, as
    # dataclasses are; shells report both as 130
    assert code in (130, -signal.SIGINT)
    assert "Traceback" not in text and "Interrupted." in text


def test_in_a_pipe_a_line_a_minute_tells_how_far_it_is(capsys):
    clock = Clock()
    listener = talk.Talk(Bars(), ["survey", "screen", "evaluate"], clock)
    listener.step("survey", 0, None)
    listener.step("evaluate", 0, 32)
    for done in range(1, 17):
        clock.now += 10
        listener.step("evaluate", done, 32)
    assert capsys.readouterr().err.splitlines() == [
        "3/3 evaluate networks: 6 of 32, 4:20 left",
        "3/3 evaluate networks: 12 of 32, 3:20 left",
    ]


def test_the_time_left_counts_down_between_steps_and_starts_anew_with_another_lot():
    clock = Clock()
    pace = talk.Pace(clock, 10, 20)  # resumed amid its work
    assert pace.left_s() is None
    clock.now += 30
    pace.move(13, 20)
    assert pace.left_s() == 70
    clock.now += 20
    assert pace.left_s() == 50
    clock.now += 100
    assert pace.left_s() == 0
    pace.move(0, 4)
    assert pace.left_s() is None
    clock.now += 5
    pace.move(1, 4)
    assert pace.left_s() == 15


@pytest.mark.parametrize(
    ("seconds", "text"), [(7, "0:07"), (125.4, "2:05"), (3599.8, "1:00:00"), (90_000, "25:00:00")]
)
def test_seconds_in_words(seconds, text):
    assert talk.describe_seconds(seconds) == text


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("words", ["search", "profile", "train", "bench build", ""])
def test_help_names_the_command_and_leaves_room_for_words(words, columns):
    text, code = run_in_terminal([*SMT_NAS, *words.split(), "--help"], columns)
    lines = seen(text)
    assert code == 0 and max(map(len, lines)) <= columns
    assert any(f"Usage: smt-nas {words}".strip() in line for line in lines)
    options = [line for line in lines if line.startswith("│ ") and "--" in line]
    assert not words or not any("<bool>" in x or " range>" in x for x in options[:-1])


@pytest.mark.parametrize("columns", [80, 120])
def test_usage_errors_fit_the_terminal(columns):
    text, code = run_in_terminal([*SMT_NAS, "search", "--n", "x"], columns)
    assert code == 2 and max(map(len, seen(text))) <= columns
    assert "Try 'smt-nas search --help' for help." in seen(text)
