"""The training of a supernet: from nothing or from its folder's last checkpoint to its end.

Everything a step draws follows from the seed and its number, and how many steps there are is
written down before the first. So a training that was killed and started again makes the very steps
of an unbroken one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from smt_nas.conditions import Conditions
from smt_nas.errors import StoreError, TrainingError, format_count
from smt_nas.evaluators.supernet.coverage import Coverage
from smt_nas.evaluators.supernet.loss_log import LossRow, write_losses
from smt_nas.evaluators.supernet.supernet_card import SupernetCard, parse_supernet_card
from smt_nas.evaluators.supernet.supernet_directory import (
    LOSSES,
    WEIGHTS,
    SupernetPlan,
    read_plan,
    write_plan,
)
from smt_nas.evaluators.supernet.supernet_images import hold_training_images
from smt_nas.evaluators.supernet.supernet_options import SupernetOptions, SupernetRunOptions
from smt_nas.evaluators.supernet.training.sandwich_step import StepReport
from smt_nas.evaluators.supernet.training.supernet_parts import SLOWER, SupernetParts, prepare_parts
from smt_nas.evaluators.supernet.training.supernet_state import EXPLODED, PATIENCE, SupernetState
from smt_nas.runtime.progress import NullProgress, TrainingListener, TrainingStatus
from smt_nas.runtime.torch_settings import apply_torch_settings
from smt_nas.train.data.examples import Source
from smt_nas.train.data.sources import load_source
from smt_nas.train.processes.process_group import join_process_group
from smt_nas.train.processes.randomness import preserve_generators
from smt_nas.train.processes.training_context import (
    Interrupts,
    catch_interrupts,
    explain_out_of_memory,
)
from smt_nas.train.recipe import Recipe
from smt_nas.train.session_start import check_shared, describe_other_draws, describe_threads
from smt_nas.train.steps.update_parts import Batch
from smt_nas.train.training_directory import lock_directory
from smt_nas.train.weights.checkpoint import FOLDER as CHECKPOINTS
from smt_nas.train.weights.checkpoint import (
    Checkpoint,
    find_latest,
    save_checkpoint,
    save_weights,
)
from smt_nas.train.weights.tensors import read_tensors

_MOST_ROLLBACKS = 3
_TRIAL_STEPS = 6  # at least, and
_TRIAL_SHARE = 0.03  # of the minutes, to measure how long a step takes
_MOST_TRIAL_S = 30.0


@dataclass(frozen=True)
class SupernetResult:
    """What came of a start of a training.

    Attributes:
        folder: of the supernet.
        step: steps so far.
        steps: of the whole training.
        interrupted: it has not come to its end.
        stop_requested: a signal asked it to stop.
        skipped: steps left out.
        rollbacks: times that it went back to a checkpoint.
        seconds: of work, over all starts.
        last: the last row of losses.csv; None before the first.
        coverage: how often each choice was trained.
    """

    folder: Path
    step: int
    steps: int
    interrupted: bool
    stop_requested: bool
    skipped: int
    rollbacks: int
    seconds: float
    last: LossRow | None
    coverage: Coverage


def train_supernet(
    options: SupernetOptions,
    folder: Path,
    listener: TrainingListener | None = None,
    run: SupernetRunOptions | None = None,
    source: Source | None = None,
) -> SupernetResult:
    """Train a supernet, or go on with it where the folder holds this very one.

    torchrun's processes share each step's images; each calls this.

    Args:
        options: what decides its weights.
        folder: of its training; new, empty, or with this supernet.
        listener: hears the first process.
        run: how it gets there.
        source: the data; None loads `options.data`.

    Returns: what came of it; `interrupted` after Ctrl-C or SIGTERM, with a checkpoint.

    Raises:
        ConfigError: the space, the recipe, an option.
        TrainingError: the data, the processes, losses that explode again and again.
        StoreError: the folder holds something else, another process works in it, or it cannot be
            written.
    """
    run = run or SupernetRunOptions()
    with join_process_group(run.device) as group, ExitStack() as stack:
        heard = listener if listener is not None and group.is_main else NullProgress()
        data = source or group.run_on_all(lambda: load_source(options.data))
        for remark in data.remarks:
            heard.say(remark)
        stack.enter_context(preserve_generators(group.device))
        group.run_on_all(
            lambda: stack.enter_context(lock_directory(folder)) if group.is_main else None
        )
        parts = group.run_on_all(lambda: prepare_parts(options, folder, heard, run, group, data))
        images = hold_training_images(parts.images, group, options.seed, heard.say)
        parts = replace(parts, images=images)
        exists = group.broadcast(group.run_on_all(lambda: group.is_main and parts.open_directory()))
        heard.say(f"{folder} holds this supernet." if exists else f"Run directory: {folder}")
        stack.enter_context(_use_precision(parts.recipe, group.device))
        interrupts = stack.enter_context(catch_interrupts())
        size, way_out = parts.recipe.batch_size, "in another --out"
        stack.enter_context(explain_out_of_memory(group.device, size, way_out))
        return _Training(parts, interrupts).run_steps()


def _use_precision(recipe: Recipe, device: torch.device) -> AbstractContextManager[None]:
    """What multiplies on a GPU; a CPU has one way alone, and keeps its threads."""
    if device.type != "cuda":
        return nullcontext()
    return apply_torch_settings(Conditions(precision=recipe.precision), device)


class _Training:
    """One start of a training; `state` and the learner change."""

    def __init__(self, parts: SupernetParts, interrupts: Interrupts) -> None:
        self._parts = parts
        self._interrupts = interrupts
        self._began = time.monotonic()
        self._plan = parts.group.broadcast(self._make_plan())
        self._learner = parts.build_learner(self._plan.steps)
        self._state = SupernetState(chance=math.log(len(parts.card.classes)))
        self._take_up(find_latest(parts.folder, parts.listener.say))

    def run_steps(self) -> SupernetResult:
        """Go on to the end of this start, or to where it is interrupted."""
        parts, state, plan = self._parts, self._state, self._plan
        last = min(plan.steps, parts.run.until_step or plan.steps)
        if not state.step:
            self._describe_plan()
            self._save()
        batches = parts.images.load_batches(state.step, last, parts.group.rank)
        saved_at, stop = time.monotonic(), False
        while self._state.step < last and not stop:
            self._run_step(batches)
            if self._state.has_exploded:
                self._roll_back()
                batches = parts.images.load_batches(self._state.step, last, parts.group.rank)
                continue
            stop = parts.group.any(self._interrupts.stop_requested)
            if self._state.step == last or self._is_save_due(stop, time.monotonic() - saved_at):
                self._save()
                saved_at = time.monotonic()
        if self._state.step == plan.steps:
            self._finish()
        return self._make_result(stop)

    def _make_plan(self) -> SupernetPlan:
        """As it was written down; else made now, and written down."""
        parts = self._parts
        stored: SupernetPlan | None = parts.group.broadcast(
            read_plan(parts.folder) if parts.group.is_main else None
        )
        if stored is not None:
            return stored
        options, per_epoch = parts.options, parts.images.sampler.updates_per_epoch
        if options.minutes is None:
            steps = options.steps or parts.recipe.epochs * per_epoch
            plan = SupernetPlan(steps=steps)
        else:
            plan = self._measure_steps(60 * options.minutes)
        if parts.group.is_main:
            write_plan(parts.folder, plan)
        return plan

    def _measure_steps(self, seconds: float) -> SupernetPlan:
        """How many steps the time holds, by some on a store that is then dropped."""
        parts = self._parts
        learner = parts.build_learner(_TRIAL_STEPS)
        batches = parts.images.load_batches(0, 1_000_000, parts.group.rank)
        parts.make_step(learner, batches, 0, 0)  # the first pays for what later ones find ready
        trial = min(_TRIAL_SHARE * seconds, _MOST_TRIAL_S)
        start, number = time.monotonic(), 0
        while parts.group.any(number < _TRIAL_STEPS or time.monotonic() - start < trial):
            number += 1
            parts.make_step(learner, batches, number, 0)
            if parts.group.any(self._interrupts.stop_requested):
                raise KeyboardInterrupt
        each = (time.monotonic() - start) / number
        left = seconds - (time.monotonic() - self._began)
        return SupernetPlan(steps=max(1, int(left / each)), step_seconds=each)

    def _describe_plan(self) -> None:
        parts, steps = self._parts, self._plan.steps
        images = parts.images.sampler.images_per_update
        epochs = steps / parts.images.sampler.updates_per_epoch
        each = self._plan.step_seconds
        time_each = "" if each is None else f" of {each:.2f} s"
        parts.listener.say(
            f"{format_count(steps, 'step')}{time_each}, {format_count(images, 'image')} and 4 "
            f"networks each: {epochs:.1f} passes over {len(parts.images.splits.train):,} images; "
            f"{len(parts.images.splits.validation):,} are held out to rate networks by."
        )

    def _take_up(self, checkpoint: Checkpoint | None) -> None:
        """Go on from a checkpoint; from the first step where there is none."""
        parts, group = self._parts, self._parts.group
        stored = group.run_on_all(lambda: self._load(checkpoint))
        own = -1 if checkpoint is None else checkpoint.update
        first = group.broadcast(own)
        group.run_on_all(lambda: check_shared(parts.folder, first, own))
        if stored is None or self._state.step >= self._plan.steps:
            return
        parts.listener.say(f"Going on from step {self._state.step} of {self._plan.steps}.")
        if stored["held"] != (parts.images.held is not None):
            parts.listener.say(describe_other_draws(stored["held"], way_out=""))
        threads = torch.get_num_threads()
        if group.device.type == "cpu" and stored["threads"] != threads:
            parts.listener.say(describe_threads(stored["threads"], threads))

    def _load(self, checkpoint: Checkpoint | None) -> dict[str, Any] | None:
        """Read a checkpoint into store, learner and state. Returns what else it holds."""
        parts, learner = self._parts, self._learner
        if checkpoint is None:
            if any((parts.folder / CHECKPOINTS).glob("update-*")):
                raise StoreError(
                    f"{parts.folder / CHECKPOINTS}: one checkpoint must be whole (got none). "
                    "Restore one, or train with another --out."
                )
            return None
        stored = checkpoint.load_state()
        learner.store.load_tensors(checkpoint.load_weights())
        averaged = checkpoint.load_ema()
        if learner.ema is not None and averaged is not None:
            learner.ema.module.load_tensors(averaged)
        learner.load_state_dict(stored["learner"])
        self._state = SupernetState.from_dict(stored["progress"])
        parts.images.unreadable.names.update(stored["unreadable"])
        return stored

    def _run_step(self, batches: Iterator[Batch]) -> None:
        parts, state = self._parts, self._state
        start = time.monotonic()
        networks, report = parts.make_step(self._learner, batches, state.step, state.rollbacks)
        state.add(report, time.monotonic() - start)
        if report.is_updated:
            state.coverage.add(networks)
        parts.listener.update(self._status(report))

    def _status(self, report: StepReport) -> TrainingStatus:
        state, sampler = self._state, self._parts.images.sampler
        per_epoch = sampler.updates_per_epoch
        return TrainingStatus(
            epoch=(state.step - 1) // per_epoch + 1,
            epochs=-(-self._plan.steps // per_epoch),
            done=state.step,
            total=self._plan.steps,
            loss=report.loss_big if report.is_updated else None,
            lr=report.lr,
            images_per_s=state.step * sampler.images_per_update / max(state.seconds, 1e-9),
            memory_mb=None,
        )

    def _is_save_due(self, stop: bool, seconds: float) -> bool:
        """At a stop always; else not while losses are bad, to keep what it would go back to."""
        run, state = self._parts.run, self._state
        by_count = run.save_steps is not None and state.step % run.save_steps == 0
        is_time = by_count or seconds > 60 * run.save_minutes
        return stop or (is_time and not state.bad_in_a_row)

    def _roll_back(self) -> None:
        """Go back to the last checkpoint, and on from there with other networks and slower."""
        parts, at, rollbacks = self._parts, self._state.step, self._state.rollbacks + 1
        if rollbacks > _MOST_ROLLBACKS:
            raise TrainingError(
                f"step {at}: losses must stay near the usual one (got {PATIENCE} steps in a row "
                f"that were above {EXPLODED:g} times it or not finite, after "
                f"{format_count(rollbacks - 1, 'return')} to a checkpoint). Lower the rate with "
                "--set optimizer.lr=…, in another --out."
            )
        parts.listener.say(
            f"Losses exploded at step {at}: back to a checkpoint, and on at "
            f"{SLOWER**rollbacks:g} of the rate."
        )
        skipped = self._state.skipped
        self._take_up(find_latest(parts.folder, parts.listener.say, _was_sound))
        parts.group.all_gather(None)  # the first replaces what the others read
        self._state.rollbacks, self._state.skipped = rollbacks, skipped
        self._save()

    def _save(self) -> None:
        """Write a checkpoint and losses.csv; the first process does."""
        parts, learner, state = self._parts, self._learner, self._state
        if not parts.group.is_main:
            return
        ema = None if learner.ema is None else learner.ema.module.detach_tensors()
        save_checkpoint(
            parts.folder,
            state.step,
            self._make_card(),
            learner.store.detach_tensors(),
            ema,
            {
                "learner": learner.state_dict(),
                "progress": state.to_dict(),
                "unreadable": parts.images.unreadable.names,
                "threads": torch.get_num_threads(),
                "held": parts.images.held is not None,
            },
            parts.run.keep,
        )
        write_losses(parts.folder / LOSSES, state.rows)

    def _finish(self) -> None:
        """Write the weights whose networks are rated, unless they are there."""
        parts, file = self._parts, self._parts.folder / WEIGHTS
        self._state.close_row()
        if not parts.group.is_main or _is_whole(file):
            return
        write_losses(parts.folder / LOSSES, self._state.rows)
        save_weights(file, self._make_card(), self._learner.eval_store.detach_tensors())

    def _make_card(self) -> SupernetCard:
        state, sampler = self._state, self._parts.images.sampler
        changes = {
            "step": state.step,
            "steps": self._plan.steps,
            "epoch": state.step // sampler.updates_per_epoch,
            "skipped": state.skipped,
            "rollbacks": state.rollbacks,
            "coverage": state.coverage.to_dict(),
        }
        return self._parts.card.model_copy(update=changes)

    def _make_result(self, stop_requested: bool) -> SupernetResult:
        state, steps = self._state, self._plan.steps
        return SupernetResult(
            folder=self._parts.folder,
            step=state.step,
            steps=steps,
            interrupted=state.step < steps,
            stop_requested=stop_requested,
            skipped=state.skipped,
            rollbacks=state.rollbacks,
            seconds=state.seconds,
            last=state.rows[-1] if state.rows else None,
            coverage=state.coverage,
        )


def _is_whole(file: Path) -> bool:
    """Whether weights can be read; what was damaged since is written again."""
    try:
        parse_supernet_card(read_tensors(file)[1], file)
    except StoreError:
        return False
    return True


def _was_sound(checkpoint: Checkpoint) -> bool:
    """Whether losses were as usual at a checkpoint; one of a stop may be amid bad ones."""
    return not checkpoint.load_state()["progress"]["bad_in_a_row"]
