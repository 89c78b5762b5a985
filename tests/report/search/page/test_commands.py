"""The command on the page makes the search that the page is of."""

import shlex
from pathlib import Path

import pytest
import typer

from smt_nas.cli.app import app
from smt_nas.evaluators import EvaluatorChoice, choose_evaluator
from smt_nas.report.search.page.commands import network_commands, search_command
from smt_nas.search import Settings
from smt_nas.search.settings import TopTraining
from smt_nas.search.stop_rule import StopRule

DIGITS = choose_evaluator("short-train", {"data": "digits", "epochs": 3})


def parse(command):
    """The options that typer reads from a command."""
    words = shlex.split(command)[1:]
    group = typer.main.get_command(app)
    name, *rest = words
    command = group.get_command(None, name)
    with command.make_context(name, rest) as context:
        return context.params


def test_what_was_asked_is_asked_again():
    settings = Settings(
        space="my space.yaml",
        budgets=("2.4GFLOPs", "0.9*smt_t"),
        objectives=("top1_pct", "macs"),
        device="a100:b8:fp16",
        strategy="nsga2",
        batch=4,
        evaluator=DIGITS,
        timeout=30.0,
        n=12,
        stop=StopRule(minutes=5, hv_stall=3),
        seed=7,
        verify=False,
    )
    asked = parse(search_command(settings, Path("runs/a b")))
    assert asked["space"] == "my space.yaml" and asked["out"] == Path("runs/a b")
    assert asked["budget"] == ["2.4GFLOPs", "0.9*smt_t"] and asked["verify"] is False
    assert asked["objective"] == ["top1_pct", "macs"] and asked["strategy"] == "nsga2"
    assert (asked["device"], asked["batch"], asked["timeout"]) == ("a100:b8:fp16", 4, 30.0)
    assert (asked["n"], asked["minutes"], asked["until"], asked["seed"]) == (12, 5, "hv-stall:3", 7)
    assert (asked["evaluator"], asked["data"], asked["epochs"]) == ("short-train", "digits", 3)


@pytest.mark.parametrize("data", ["digits", "my digits"])
def test_a_training_at_the_end_is_asked_for_once(data):
    wish = TopTraining(top=2, data=data, recipe="small")
    evaluator = choose_evaluator("short-train", {"data": data, "epochs": 3})
    for choice in (evaluator, EvaluatorChoice(name="capacity"), None):
        command = search_command(Settings(evaluator=choice, train_top=wish), Path("r"))
        assert command.count("--data") == 1
        asked = parse(command)
        assert (asked["train_top"], asked["data"], asked["recipe"]) == (2, data, "small")


def test_a_password_is_not_on_the_page():
    settings = Settings(storage="postgresql://me:secret@host/db")
    command = search_command(settings, Path("r"))
    assert "secret" not in command and "postgresql://me:***@host/db" in command


def test_what_was_not_asked_is_left_to_the_defaults():
    command = search_command(Settings(), Path("r"))
    assert command == "smt-nas search --evaluator joint --n 128 --seed 0 --out r"


def test_commands_of_a_network_name_its_file():
    commands = network_commands(Path("runs/a b"), "3")
    assert all("'runs/a b/front/3.yaml'" in line for _, line in commands)
