"""The training loop: updates, evaluations, checkpoints, and going on after any kind of end.

Order, augmentation, stochastic depth and mixing are drawn by key (see `randomness`), so a training
that was killed and resumed makes the very updates that an unbroken one makes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from smt_nas.conditions import Conditions
from smt_nas.errors import TrainingError, format_count
from smt_nas.models.training_ops import use_fast_gradients
from smt_nas.runtime.progress import (
    EpochMetrics,
    EvalWarning,
    TrainingListener,
    TrainingStatus,
    TrainingWarning,
)
from smt_nas.runtime.torch_settings import apply_torch_settings
from smt_nas.runtime.turns import Steps, enter_each
from smt_nas.train.data.batches.reader_processes import explain_reader_failures
from smt_nas.train.evaluation import Score
from smt_nas.train.planning.training_warnings import (
    find_rise,
    list_plan_warnings,
    list_result_warnings,
)
from smt_nas.train.processes.process_group import ProcessGroup
from smt_nas.train.processes.randomness import UPDATE, seed_all
from smt_nas.train.processes.training_context import (
    Interrupts,
    catch_interrupts,
    explain_out_of_memory,
    use_deterministic_algorithms,
)
from smt_nas.train.session import Training, TrainingInputs, TrainingSession
from smt_nas.train.session_start import open_session
from smt_nas.train.steps.update_parts import Batch, ReadOutcome, UpdateOutcome, read_outcomes
from smt_nas.train.train_config import RunOptions, TrainConfig
from smt_nas.train.training_state import TrainResult
from smt_nas.train.weights.weights import BEST


def train_network(training: Training, inputs: TrainingInputs) -> Steps[TrainResult]:
    """Train a network from the folder's last checkpoint to its end, or to `options.until_epoch`.

    It stops after each update. Python's, NumPy's and torch's global generators are seeded for each.

    Args:
        training: each process calls this; the folder is made by
            `training_directory.create_directory` and locked by the caller.
        inputs: of `prepare_inputs`, for it.

    Returns: what came of it; `interrupted` after Ctrl-C or SIGTERM, with a checkpoint of that
        moment.

    Raises:
        TrainingError: the data, the processes, or gradients that are not finite any more.
        StoreError: a checkpoint cannot be written; the one before it is kept.
    """
    return enter_each(
        _train(training, inputs),
        lambda: _training_settings(training.config, training.options, training.group),
    )


@contextmanager
def _training_settings(
    config: TrainConfig, options: RunOptions, group: ProcessGroup
) -> Iterator[None]:
    """torch's switches, as the training wants them."""
    with ExitStack() as stack:
        if group.device.type == "cuda":
            conditions = Conditions(precision=config.recipe.precision)
            stack.enter_context(apply_torch_settings(conditions, group.device))
        if options.deterministic:
            stack.enter_context(use_deterministic_algorithms(True))
        yield


def _train(training: Training, inputs: TrainingInputs) -> Steps[TrainResult]:
    device, batch_size = training.group.device, training.config.recipe.batch_size
    with ExitStack() as stack:
        interrupts = stack.enter_context(catch_interrupts())
        stack.enter_context(explain_out_of_memory(device, batch_size))
        session = open_session(training, inputs)
        stack.callback(session.close)
        stack.enter_context(explain_reader_failures(session.workers))
        loop = _TrainingLoop(training.folder, session, interrupts, training.listener)
        return (yield from loop.steps())


@dataclass(frozen=True)
class _TrainingLoop:
    """What the loop works with; what it changes is in `session`."""

    folder: Path
    session: TrainingSession
    interrupts: Interrupts
    listener: TrainingListener
    warned: set[EvalWarning | str] = field(default_factory=set)
    unread: list[UpdateOutcome] = field(default_factory=list)

    def steps(self) -> Steps[TrainResult]:
        """Go on to the end of this start, or to where it is interrupted; stops at each update."""
        session, state = self.session, self.session.state
        if not state.update:
            self._describe_plan()
        batches = session.load_batches()
        saved_at, stop = time.monotonic(), False
        while state.update < session.last_update:
            self._train_update(batches)
            if not self.unread:
                self.listener.update(self._status())
            if state.update % session.sampler.updates_per_epoch == 0:
                self._close_epoch()
                saved_at = time.monotonic()
            stop = session.group.any(self.interrupts.stop_requested)
            inside = state.epoch.images > 0  # at an epoch's end it is saved, with its score
            ends = stop or state.update == session.last_update
            if inside and (ends or self._is_save_due(time.monotonic() - saved_at)):
                self._add_outcomes(self._read_outcomes())
                session.save(self.folder, None)
                saved_at = time.monotonic()
            if stop:
                break
            yield
        return self._result(stop)

    def _describe_plan(self) -> None:
        """What is about to be done, and what is to be feared of it."""
        session, config = self.session, self.session.config
        recipe = config.recipe
        self.listener.say(
            f"Recipe {config.recipe_name}: {format_count(recipe.epochs, 'epoch')}, "
            f"{format_count(session.updates, 'update')} of "
            f"{format_count(config.images_per_update, 'image')}, rate "
            f"{recipe.optimizer.scale_rates(config.images_per_update).lr:.2g}."
        )
        held_out = len(session.splits.validation)
        fresh = config.init is None
        for warning in list_plan_warnings(recipe, session.updates, held_out, fresh):
            self.listener.warn(warning)

    def _train_update(self, batches: Iterator[Batch]) -> None:
        """One update, with what it took."""
        session, state = self.session, self.session.state
        start = time.monotonic()
        own_batches = [next(batches) for _ in range(session.config.recipe.accumulation)]
        waited = time.monotonic() - start
        seed_all(session.config.seed, UPDATE, state.update, session.group.rank)
        with use_fast_gradients(session.fast):
            self.unread.append(session.learner.update(state.update, own_batches))
        outcomes = self._read_outcomes() if self._is_read_due() else []
        seconds = time.monotonic() - start
        state.add_update(session.config.images_per_update, seconds, waited)
        self._add_outcomes(outcomes)

    def _is_read_due(self) -> bool:
        """Whether to wait for the update that was just begun, and for those before it."""
        session, number = self.session, self.session.state.update + 1
        is_last = number % session.sampler.updates_per_epoch == 0 or number == session.last_update
        return is_last or len(self.unread) >= session.learner.read_every

    def _read_outcomes(self) -> list[ReadOutcome]:
        """What came of the updates since the last reading, the loss over all processes."""
        group, outcomes = self.session.group, read_outcomes(self.unread)
        self.unread.clear()
        losses = group.all_reduce(*(outcome.loss for outcome in outcomes))
        return [
            ReadOutcome(loss / group.size, outcome.is_updated)
            for loss, outcome in zip(losses, outcomes, strict=True)
        ]

    def _add_outcomes(self, outcomes: Sequence[ReadOutcome]) -> None:
        """Count what came of the last updates; those that are counted already include them."""
        state, most = self.session.state, self.session.config.recipe.max_nonfinite
        for later, outcome in zip(range(len(outcomes))[::-1], outcomes, strict=True):
            state.add_outcome(outcome.loss, outcome.is_updated)
            if state.in_a_row > most:
                raise TrainingError(
                    f"update {state.update - later}: gradients must be finite (got "
                    f"{state.in_a_row} updates in a row that are not; the last loss is "
                    f"{outcome.loss:g}). Lower the rate with --set optimizer.lr=…, or use --set "
                    "precision=fp32; the last checkpoint is kept."
                )

    def _status(self) -> TrainingStatus:
        session, state = self.session, self.session.state
        return TrainingStatus(
            epoch=(state.update - 1) // session.sampler.updates_per_epoch + 1,
            epochs=session.config.recipe.epochs,
            done=state.update,
            total=session.updates,
            loss=state.epoch.mean_loss,
            lr=session.learner.lr,
            images_per_s=state.epoch.images_per_s,
            memory_mb=session.peak_memory_mb(),
        )

    def _close_epoch(self) -> None:
        """Evaluate where it is time, write the epoch's metrics, keep the best weights, save."""
        session, state, recipe = self.session, self.session.state, self.session.config.recipe
        number = state.update // session.sampler.updates_per_epoch
        self._check_diverged(number)
        score = None
        if number % recipe.eval_every == 0 or number == recipe.epochs:
            score = session.evaluate(self.listener)
            self._warn(score.warnings())
        for names in session.group.all_gather(session.unreadable.names):
            session.unreadable.names.update(names)
        metrics = self._epoch_metrics(number, score)
        is_better = state.close_epoch(metrics)
        if is_better:
            session.save_best(self.folder, score)
        session.write_metrics(metrics)
        session.save(self.folder, score)
        self.listener.epoch(metrics)
        rise = find_rise(state.history, self._first_loss)
        if rise is not None and rise.kind not in self.warned:
            self.warned.add(rise.kind)
            self.listener.warn(rise)

    def _check_diverged(self, number: int) -> None:
        """An epoch of which most was left out has not trained: it diverged."""
        sums = self.session.state.epoch
        if sums.skipped > sums.made:
            raise TrainingError(
                f"epoch {number}: most gradients must be finite (got {sums.skipped} of "
                f"{sums.skipped + sums.made} updates that had to be left out). Lower the rate with "
                "--set optimizer.lr=…, or use --set precision=fp32; the last checkpoint is kept."
            )

    def _epoch_metrics(self, number: int, score: Score | None) -> EpochMetrics:
        session, state = self.session, self.session.state
        return EpochMetrics(
            epoch=number,
            update=state.update,
            lr=session.learner.lr,
            train_loss=state.epoch.mean_loss,
            val_loss=None if score is None else score.loss,
            val_top1=None if score is None else score.top1,
            val_top5=None if score is None else score.top5,
            val_n=None if score is None else score.n,
            images_per_s=state.epoch.images_per_s,
            waiting_share=state.epoch.waiting_share,
            seconds=state.epoch.seconds,
            skipped=state.epoch.skipped,
            unreadable=float(len(session.unreadable.names)),
            peak_memory_mb=session.peak_memory_mb(),
        )

    def _warn(self, warnings: Iterable[EvalWarning]) -> None:
        """Tell of each once in a training, not every epoch."""
        for warning in warnings:
            if warning not in self.warned:
                self.warned.add(warning)
                self.listener.warn(warning)

    def _is_save_due(self, seconds: float) -> bool:
        """Whether a checkpoint inside an epoch is due."""
        options, update = self.session.options, self.session.state.update
        by_count = options.save_updates is not None and update % options.save_updates == 0
        return by_count or seconds > 60 * options.save_minutes

    def _result(self, stop_requested: bool) -> TrainResult:
        session, state, best = self.session, self.session.state, self.folder / BEST
        return TrainResult(
            run=self.folder,
            arch=session.config.arch,
            epochs=len(state.history),
            updates=state.update,
            skipped=state.skipped,
            best=state.best,
            history=tuple(state.history),
            validation_n=len(session.splits.validation),
            images_per_s=state.images_per_s,
            waiting_share=state.waiting_share,
            peak_memory_mb=session.peak_memory_mb(),
            unreadable=dict(session.unreadable.names),
            interrupted=state.update < session.last_update,
            weights=best if best.is_file() else None,
            stop_requested=stop_requested,
            warnings=self._find_warnings(),
        )

    def _find_warnings(self) -> tuple[TrainingWarning, ...]:
        """Of a training that has reached its end."""
        session, state = self.session, self.session.state
        if state.update < session.updates:
            return ()
        labels = session.splits.validation.labels
        chance = float(np.bincount(labels).max() / len(labels))
        start, fresh = self._first_loss, session.config.init is None
        return list_result_warnings(state.history, state.best, len(labels), chance, start, fresh)

    @property
    def _first_loss(self) -> float | None:
        """That of guessing among the classes; a teacher's is not known."""
        config = self.session.config
        return math.log(config.arch.num_classes) if config.teacher is None else None
