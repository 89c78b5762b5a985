"""Evaluators that train belong to a higher room than the search: they are made here for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smt_nas.errors import ConfigError

if TYPE_CHECKING:
    from smt_nas.evaluators import Evaluator
    from smt_nas.search import SearchListener, Settings

SHORT_TRAIN = "short-train"


def training(
    data: str | None, epochs: int | None, image_size: int | None, recipe: str | None, seed: int
) -> dict[str, object] | None:
    """What `search` records of the training of candidates; None without data.

    Raises:
        ConfigError: an option that is about a training, and no data.
    """
    asked = {"epochs": epochs, "image_size": image_size, "recipe": recipe}
    given = {name: value for name, value in asked.items() if value is not None}
    if data is None:
        if given:
            flag = "--" + next(iter(given)).replace("_", "-")
            raise ConfigError(f"{flag}: is about training candidates (got no --data). Add it.")
        return None
    return {"data": data, "seed": seed, **given}


def rater_of(settings: Settings, listener: SearchListener, workers: int | None) -> Evaluator | None:
    """The evaluator of a search that trains its candidates; None for any other.

    Raises:
        ConfigError: no data to train on, or a value that is not allowed.
    """
    if settings.evaluator != SHORT_TRAIN:
        if settings.training is not None:
            raise ConfigError(
                f"--data: is for evaluator {SHORT_TRAIN} (got {settings.evaluator}). Drop one."
            )
        return None
    if settings.training is None:
        raise ConfigError(
            f"evaluator {SHORT_TRAIN}: needs data to train on (got no --data). E.g. --data digits."
        )
    from smt_nas.evaluators.short_train.evaluator import ShortTrainEvaluator, ShortTraining
    from smt_nas.yaml import validated

    wanted = validated(ShortTraining, settings.training, "search")
    return ShortTrainEvaluator(wanted, workers=workers, listener=listener)
