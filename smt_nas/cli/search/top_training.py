"""The last step of `search … --train-top K`: knee points of the front, trained in full."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from smt_nas.cli.training.training_process import prepare_to_train
from smt_nas.cli.training.training_talk import training
from smt_nas.errors import ConfigError, format_count
from smt_nas.files import write_atomic

if TYPE_CHECKING:
    from smt_nas.search import Outcome
    from smt_nas.search.settings import TopTraining
    from smt_nas.train.front_training import TrainingComparison


def read_wish(top: int | None, data: str | None, recipe: str | None) -> TopTraining | None:
    """What `--train-top` asks for; data and recipe are looked at before days are spent.

    Raises:
        ConfigError: no data, no such recipe, or too many knee points.
        TrainingError: the data cannot be read.
    """
    if top is None:
        return None
    if data is None:
        raise ConfigError(
            "--train-top: needs --data, to train on (got none). E.g. --train-top "
            f"{top} --data digits."
        )
    from smt_nas.search.settings import TopTraining
    from smt_nas.train.data.sources import load_source
    from smt_nas.train.recipe import load_recipe
    from smt_nas.yaml import validated

    if recipe is not None:
        load_recipe(recipe)
    load_source(data)
    return validated(TopTraining, {"top": top, "data": data, "recipe": recipe}, "--train-top")


def run_top_training(outcome: Outcome) -> TrainingComparison | None:
    """Train what the run's settings ask for, or go on with it; None where it is not time yet.

    Raises:
        SmtNasError: the data, the recipe, a folder.
    """
    wish = outcome.settings.train_top
    if wish is None or outcome.interrupted or not (outcome.finished and outcome.front):
        return None
    from smt_nas.report.train.results import comparison_document
    from smt_nas.search.results.top_members import list_top_members
    from smt_nas.train.front_training import FOLDER, train_members
    from smt_nas.train.processes.process_group import join_process_group
    from smt_nas.train.train_config import RunOptions, TrainRequest

    members = list_top_members(outcome, wish.top)
    request = TrainRequest(
        name="", data=wish.data, recipe=wish.recipe, seed=outcome.settings.seed, new_head=True
    )
    folder = outcome.path / FOLDER
    prepare_to_train(None)
    with join_process_group(None) as group, training(group.is_main) as listener:
        knees = [m.name for m in members if not m.baseline]
        beside = ", ".join(m.name for m in members if m.baseline)
        listener.say(
            f"Training {format_count(len(knees), 'knee point')} of the front "
            f"({', '.join(knees)}) on {wish.data}, beside {beside}."
        )
        comparison = train_members(members, request, 1, RunOptions(), folder, group, listener)
    document = comparison_document(comparison)
    write_atomic(folder / "comparison.json", json.dumps(document, indent=1))
    return comparison
