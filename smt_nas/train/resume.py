"""Going on: the state of a training's last checkpoint, put back into what the loop works with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smt_nas.errors import StoreError, TrainingError
from smt_nas.runtime.progress import TrainingListener
from smt_nas.train.checkpoint import FOLDER, Checkpoint, latest
from smt_nas.train.progress import Progress
from smt_nas.train.writers import Writer, open_writers

if TYPE_CHECKING:
    from smt_nas.train.prepare import Prepared


def resumed(run: Path, ready: Prepared, listener: TrainingListener) -> Prepared:
    """What goes on from the last checkpoint of a folder, or begins where there is none.

    Raises:
        StoreError: the checkpoint is of another network, or not all processes find the same one.
        TrainingError: the data are not what the training began with.
    """
    world = ready.world
    found = world.together(lambda: _resumed(run, ready, listener))
    first = world.told(found.progress.update)
    world.together(lambda: _check_shared(run, first, found.progress.update))
    return found


def _resumed(run: Path, ready: Prepared, listener: TrainingListener) -> Prepared:
    """With the state of the last checkpoint, and the writers that go on from there."""
    found = latest(run, listener.say)
    progress = Progress()
    if found is None and any((run / FOLDER).glob("update-*")):
        raise StoreError(
            f"{run / FOLDER}: one checkpoint must be whole (got none). Restore one, or remove the "
            "folder to begin anew."
        )
    if found is not None:
        state = found.state()
        _check_own(found, state, ready)
        ready.learner.model.load_state_dict(found.weights())
        averaged = found.ema()
        if ready.learner.ema is not None and averaged is not None:
            ready.learner.ema.module.load_state_dict(averaged)
        ready.learner.load_state(state["learner"])
        progress = Progress.of_state(state["progress"])
        ready.unreadable.names.update(state.get("unreadable", {}))
        listener.say(f"Going on from update {progress.update} of {ready.updates}.")
    writers = list[Writer]()
    if ready.world.first:
        writers = open_writers(ready.how.log, run, progress.history, listener.say)
    return replace(ready, progress=progress, writers=tuple(writers))


def _check_own(found: Checkpoint, state: dict[str, Any], ready: Prepared) -> None:
    """Refuse a checkpoint of another network or of other data: it would not go on but go wrong."""
    card, arch = found.card, ready.settings.arch
    if card.arch != arch:
        raise StoreError(
            f"{found.path}: must be of this training's network, {arch.key} (got {card.arch.key}). "
            "Remove it, or train with another --out."
        )
    now = ready.source.classes, ready.order.n
    then = card.classes, state.get("images", ready.order.n)
    if now != then:
        raise TrainingError(
            f"{ready.settings.data}: must hold the images that the training began with (got "
            f"{now[1]} to train on of {len(now[0])} classes, then {then[1]} of {len(then[0])}). "
            "Put them back, or train with another --out."
        )


def _check_shared(run: Path, first: int, own: int) -> None:
    """All processes must find the same checkpoint, on whatever machine they are."""
    if own != first:
        raise StoreError(
            f"{run}: all processes must see the same checkpoints (got one of update {own}, process "
            f"0 has {first}). Put the folder where all machines share it."
        )
