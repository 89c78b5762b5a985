"""The exact commands that make a run again, and that train, time and hand over a network of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from smt_nas.evaluators.choice import flag
from smt_nas.files import shell_word
from smt_nas.search import Settings
from smt_nas.search.stop_rule import count_wanted
from smt_nas.search.storage.database import hide_password

_PLAIN = ("space", "device", "region", "strategy", "batch", "timeout")


def search_command(settings: Settings, path: Path) -> str:
    """The command of a search, as a user would type it; a password is not in it.

    Args:
        settings: of the run.
        path: its folder, which a search of the same name must not find.
    """
    return " ".join(["smt-nas search", *_list_options(settings), f"--out {shell_word(path)}"])


def _list_options(settings: Settings) -> Iterator[str]:
    usual = Settings.model_fields
    for budget in settings.budgets:
        yield f"--budget {shell_word(budget)}"
    for objective in settings.objectives:
        yield f"--objective {shell_word(objective)}"
    for name in _PLAIN:
        value = getattr(settings, name)
        if value is not None and value != usual[name].default:
            yield f"{flag(name)} {shell_word(value)}"
    yield from _list_evaluator_options(settings)
    n, stop, wish = count_wanted(settings.n), settings.stop, settings.train_top
    if n is not None:
        yield f"--n {n}"
    if stop.minutes is not None:
        yield f"--minutes {stop.minutes:g}"
    if stop.hv_stall is not None:
        yield f"--until hv-stall:{stop.hv_stall}"
    if wish is not None:
        yield f"--train-top {wish.top} --data {shell_word(wish.data)}"
        if wish.recipe is not None:
            yield f"--recipe {shell_word(wish.recipe)}"
    if settings.storage is not None:
        yield f"--storage {shell_word(hide_password(settings.storage))}"
    yield f"--seed {settings.seed}"
    if not settings.verify:
        yield "--no-verify"


def _list_evaluator_options(settings: Settings) -> Iterator[str]:
    choice = settings.evaluator
    if choice is None:
        return
    yield f"--evaluator {shell_word(choice.word)}"
    taken = () if settings.train_top is None else ("data", "recipe")
    for name, value in choice.training.items():
        if name != "seed" and name not in taken and value is not None:
            yield f"{flag(name)} {shell_word(value)}"


def network_commands(run: Path, name: str) -> list[tuple[str, str]]:
    """What it does and the command, for a network of the front."""
    file = run / "front" / f"{name}.yaml"
    word = shell_word(file)
    return [
        ("Time it on this machine", f"smt-nas profile {word}"),
        ("Train it in full", f"smt-nas train {word} --data DIR"),
        ("Hand it over as ONNX", f"smt-nas export {word} --format onnx --out network.onnx"),
        ("Hand it over as code", f"smt-nas export {word} --format python --out network.py"),
    ]


def run_commands(settings: Settings, path: Path) -> list[tuple[str, str]]:
    """What it does and the command, for the run as a whole."""
    word = shell_word(path)
    again = path.with_name(f"{path.name}-again")
    return [
        ("Make this search again", search_command(settings, again)),
        ("Try more networks", f"smt-nas resume {word} --n +100"),
        ("See all rows and all notes", f"smt-nas front {word} --all --evidence"),
        ("Read it by program", f"smt-nas front {word} --json"),
    ]
