"""How a training starts: anew, or from its folder's last checkpoint, in the way that it began."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from smt_nas.errors import StoreError, TrainingError, format_count
from smt_nas.runtime.progress import TrainingListener
from smt_nas.train.data.batches.loader import UnreadableImages
from smt_nas.train.data.memory.holding import HoldingOptions, hold_in_all
from smt_nas.train.learner import build_learner
from smt_nas.train.session import Training, TrainingInputs, TrainingSession
from smt_nas.train.training_state import TrainingState
from smt_nas.train.weights.checkpoint import FOLDER, Checkpoint, find_latest
from smt_nas.train.writers import open_writers


class _Way(NamedTuple):
    """How updates were made, as a checkpoint keeps it; one of before there was a choice: plainly.

    Attributes:
        fast: of `TrainingSession`.
        held: images were in memory.
    """

    fast: bool
    held: bool


def open_session(training: Training, inputs: TrainingInputs) -> TrainingSession:
    """Set up a training, from the folder's last checkpoint or, where there is none, anew.

    Raises:
        StoreError: the checkpoint is of another network, or not all processes find the same one.
        TrainingError: the data are not what the training began with.
    """
    run, options, group = training.folder, training.options, training.group
    listener = training.listener
    session = TrainingSession(
        config=training.config,
        options=options,
        group=group,
        source=training.source,
        splits=inputs.splits,
        sampler=inputs.sampler,
        learner=build_learner(
            inputs.model,
            training.config,
            options,
            group,
            inputs.sampler.updates_per_epoch,
            inputs.teacher,
            listener,
        ),
        state=TrainingState(),
        unreadable=UnreadableImages(options.max_unreadable),
        writers=(),
    )
    loaded, before = group.run_on_all(lambda: _load_checkpoint(run, session, listener))
    first, history = group.broadcast(loaded.state.update), loaded.state.history
    group.run_on_all(lambda: check_shared(run, first, loaded.state.update))
    fast = options.fast
    if fast is None:  # then it goes on as it began
        fast = before is None or before.fast
    opened = replace(loaded, fast=fast)
    if first < opened.last_update:
        opened = _hold_images(opened, before, listener)
    writers = group.run_on_all(  # last, as nobody closes them where the session does not open
        lambda: open_writers(options.log, run, history, listener.say) if group.is_main else []
    )
    return replace(opened, writers=tuple(writers))


def _hold_images(
    session: TrainingSession, before: _Way | None, listener: TrainingListener
) -> TrainingSession:
    """With the images in memory, where they can be held; the user hears where once they were not.

    Args:
        session: of each process.
        before: how updates were made until the last checkpoint; None without one.
        listener: hears the first process.
    """
    images, group, config = None, session.group, session.config
    if session.fast:
        images = hold_in_all(
            group,
            session.splits,
            session.source,
            config.recipe,
            config.seed,
            HoldingOptions(
                group.device,
                config.arch.image_size,
                config.arch.in_channels,
                group.size,
                session.workers,
            ),
            listener.say,
        )
    if before is not None and before.held != (images is not None):
        listener.say(describe_other_draws(before.held))
    return replace(session, held=images)


def _load_checkpoint(
    run: Path, session: TrainingSession, listener: TrainingListener
) -> tuple[TrainingSession, _Way | None]:
    """With the state of the last checkpoint, where there is one.

    Returns: the session, and how updates were made until there; None for a beginning.
    """
    checkpoint = find_latest(run, listener.say)
    if checkpoint is None:
        if any((run / FOLDER).glob("update-*")):
            raise StoreError(
                f"{run / FOLDER}: one checkpoint must be whole (got none). Restore one, or remove "
                "the folder to begin anew."
            )
        return session, None
    stored, learner = checkpoint.load_state(), session.learner
    _check_own(checkpoint, stored, session)
    learner.model.load_state_dict(checkpoint.load_weights())
    averaged = checkpoint.load_ema()
    if learner.ema is not None and averaged is not None:
        learner.ema.module.load_state_dict(averaged)
    learner.load_state_dict(stored["learner"])
    session.unreadable.names.update(stored.get("unreadable", {}))
    state = TrainingState.from_dict(stored["progress"])
    listener.say(f"Going on from update {state.update} of {session.updates}.")
    goes_on = state.update < session.updates and session.group.device.type == "cpu"
    if goes_on and stored.get("threads") not in (None, torch.get_num_threads()):
        listener.say(describe_threads(stored["threads"], torch.get_num_threads()))
    return replace(session, state=state), _Way(stored.get("fast", False), stored.get("held", False))


def describe_other_draws(held_before: bool, way_out: str = " (--no-fast repeats them)") -> str:
    """That random draws are others than before a stop, as images are held now, or no longer."""
    ways = ("read one by one", "held in memory")
    repeat = "" if held_before else way_out
    return (
        f"Images were {ways[held_before]} until there, and now are {ways[not held_before]}: crops, "
        "flips and erasing are drawn otherwise, so the weights will differ from those of one go"
        f"{repeat}."
    )


def describe_threads(before: int, now: int) -> str:
    """That sums are made in another order than before a stop."""
    return (
        f"The CPU computed with {format_count(before, 'thread')} until there, and now does with "
        f"{format_count(now, 'thread')}: gradients are summed in another order, so the weights "
        f"will differ a little from those of one go (OMP_NUM_THREADS={before} repeats them)."
    )


def _check_own(checkpoint: Checkpoint, stored: dict[str, Any], session: TrainingSession) -> None:
    """Refuse a checkpoint of another network or of other data: it would not go on but go wrong."""
    card, arch = checkpoint.card, session.config.arch
    if card.arch.key != arch.key:
        raise StoreError(
            f"{checkpoint.path}: must be of this training's network, {arch.key} (got "
            f"{card.arch.key}). Remove it, or train with another --out."
        )
    classes, n = session.source.classes, session.sampler.n
    stored_n = stored.get("images", n)
    if (classes, n) != (card.classes, stored_n):
        raise TrainingError(
            f"{session.config.data}: must hold the images that the training began with (got "
            f"{n} to train on of {len(classes)} classes, then {stored_n} of {len(card.classes)}). "
            "Put them back, or train with another --out."
        )


def check_shared(run: Path, first: int, own: int) -> None:
    """All processes must find the same checkpoint, on whatever machine they are."""
    if own != first:
        got = "none" if own < 0 else f"one of update {own}"
        other = "none" if first < 0 else first
        raise StoreError(
            f"{run}: all processes must see the same checkpoints (got {got}, process 0 has "
            f"{other}). Put the folder where all machines share it."
        )
