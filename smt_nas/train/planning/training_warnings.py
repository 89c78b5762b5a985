"""What a user must be warned of: a training too short, one that did not learn, too few images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from smt_nas.runtime.progress import EpochMetrics, TrainingWarning
from smt_nas.train.evaluation import standard_error
from smt_nas.train.planning.recipe_choice import FEW_UPDATES
from smt_nas.train.recipe import Recipe

_FEW_HELD_OUT = 100  # images, of which one is a whole point
_ABOVE_FIRST, _ABOVE_BEST = 1.1, 1.5  # times the loss of the first epoch, of the best one
_ABOVE_START = 1.5  # times that of a network that knows nothing
_LEAST_RISE = 0.05  # nats: of losses near nothing, epochs differ by more than these factors
_FIRST_WEIGHTS = 0.37  # share of an average, above which it still is mostly what it began with


def list_plan_warnings(
    recipe: Recipe, updates: int, validation_n: int, fresh: bool = True
) -> tuple[TrainingWarning, ...]:
    """What is to be feared of a training before it begins.

    Args:
        recipe: of it.
        updates: of the whole training.
        validation_n: images held out.
        fresh: it starts from nothing; trained weights need fewer updates.
    """
    return tuple(_find_in_plan(recipe, updates, validation_n, fresh))


def _find_in_plan(
    recipe: Recipe, updates: int, validation_n: int, fresh: bool
) -> Iterator[TrainingWarning]:
    if fresh and updates < FEW_UPDATES:
        yield TrainingWarning("few_updates", updates, FEW_UPDATES)
    ema = recipe.ema
    if ema is not None and not ema.warmup and ema.decay**updates > _FIRST_WEIGHTS:
        yield TrainingWarning("short_average", updates, 1 / (1 - ema.decay))
    if validation_n < _FEW_HELD_OUT:
        yield TrainingWarning("few_held_out", validation_n, standard_error(0.5, validation_n))


def list_result_warnings(
    history: Sequence[EpochMetrics],
    best: EpochMetrics | None,
    validation_n: int,
    chance: float,
    start: float | None = None,
    fresh: bool = True,
) -> tuple[TrainingWarning, ...]:
    """What must be known of a training that has ended.

    Args:
        history: its epochs.
        best: the best of them.
        validation_n: images held out.
        chance: share of the most frequent class among them.
        start: as in `find_rise`.
        fresh: as in `list_plan_warnings`.
    """
    warnings = []
    if fresh and history and (history[-1].update or 0) < FEW_UPDATES:
        warnings.append(TrainingWarning("few_updates", history[-1].update or 0, FEW_UPDATES))
    rise = find_rise(history, start)
    warnings += [] if rise is None else [rise]
    if best is None or best.val_top1 is None:
        return tuple(warnings)
    n = best.val_n or validation_n
    error = standard_error(best.val_top1, n)
    if best.val_top1 - 2 * error <= chance:
        warnings.append(TrainingWarning("chance", best.val_top1, chance))
    if n < _FEW_HELD_OUT:
        warnings.append(TrainingWarning("few_held_out", n, error))
    return tuple(warnings)


def find_rise(
    history: Sequence[EpochMetrics], start: float | None = None
) -> TrainingWarning | None:
    """A loss of the last epoch clearly above that of the first, of the best one, or of the start.

    Epochs of few images differ by their draw alone, so a little is no rise.

    Args:
        history: the epochs.
        start: loss of a network that knows nothing; None where that is not known.
    """
    losses = [m.train_loss for m in history if m.train_loss is not None]
    if not losses:
        return None
    before = [(min(losses), _ABOVE_BEST), (losses[0], _ABOVE_FIRST)]
    before += [] if start is None else [(start, _ABOVE_START)]
    for loss, factor in before:
        if losses[-1] > max(factor * loss, loss + _LEAST_RISE):
            return TrainingWarning("loss_rose", losses[-1], loss)
    return None
