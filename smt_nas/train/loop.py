"""The training loop: updates, evaluations, checkpoints, and going on after any kind of end.

Order, augmentation, stochastic depth and mixing are drawn by key (see `randomness`), so a training
that was killed and resumed makes the very updates that an unbroken one makes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

from smt_nas.conditions import Conditions
from smt_nas.errors import TrainingError
from smt_nas.runtime.progress import EpochMetrics, TrainingListener, TrainingStatus
from smt_nas.runtime.torch_settings import apply_torch_settings
from smt_nas.train.data.reader_processes import workers_explained
from smt_nas.train.data.sources import Source
from smt_nas.train.interrupts import Interrupts, interrupts
from smt_nas.train.learner import Batch
from smt_nas.train.process_group import World
from smt_nas.train.randomness import UPDATE, generators_kept, seed_all
from smt_nas.train.recipe import Recipe
from smt_nas.train.score import Score
from smt_nas.train.session import Parts, Prepared, prepare
from smt_nas.train.settings import How, Settings
from smt_nas.train.train_result import Finished
from smt_nas.train.weights.checkpoint import save, save_weights
from smt_nas.train.weights.weights import BEST

_SHOWN_S = 0.2  # seconds between movements of the bar


def train(
    run: Path,
    settings: Settings,
    how: How,
    world: World,
    source: Source,
    parts: Parts,
    listener: TrainingListener,
) -> Finished:
    """Train a network from the folder's last checkpoint to its end, or to `how.until_epoch`.

    Args:
        run: the folder, made by `rundir.begin`, locked by the caller.
        settings: what is trained.
        how: how.
        world: the processes; each calls this.
        source: the data.
        parts: of `checked`, for these.
        listener: hears the first process.

    Returns: what came of it; `interrupted` after Ctrl-C or SIGTERM, with a checkpoint of that
        moment.

    Raises:
        TrainingError: the data, the processes, or gradients that are not finite any more.
        StoreError: a checkpoint cannot be written; the one before it is kept.
    """
    with ExitStack() as stack:
        stack.enter_context(generators_kept(world.device))
        if world.device.type == "cuda":
            conditions = Conditions(precision=settings.recipe.precision)
            stack.enter_context(apply_torch_settings(conditions, world.device))
        stack.enter_context(_bits(how.deterministic))
        heard = stack.enter_context(interrupts())
        ready = prepare(run, settings, how, world, source, parts, listener)
        stack.callback(ready.close)
        stack.enter_context(workers_explained(ready.workers))
        stack.enter_context(_memory_explained(world, settings.recipe))
        return _Loop(run, settings, how, world, listener, ready, heard).run()


@dataclass(frozen=True)
class _Loop:
    """What the loop works with; what it changes is in `ready`."""

    run_folder: Path
    settings: Settings
    how: How
    world: World
    listener: TrainingListener
    ready: Prepared
    heard: Interrupts
    said: set[str] = field(default_factory=set)

    def run(self) -> Finished:
        """Go on to the end of this start, or to where it is interrupted."""
        progress, batches = self.ready.progress, self.ready.batches()
        saved, shown, stop = time.monotonic(), 0.0, False
        while progress.update < self.ready.end:
            self._update(batches)
            if time.monotonic() - shown > _SHOWN_S:
                shown = time.monotonic()
                self._show()
            if progress.update % self.ready.order.steps == 0:
                self._close_epoch()
                saved = time.monotonic()
            stop = self.world.any(self.heard.asked)
            inside = progress.epoch.images > 0  # at an epoch's end it is saved, with its score
            if inside and (stop or self._due(time.monotonic() - saved)):
                self._save()
                saved = time.monotonic()
            if stop:
                break
        return self._finished(stop)

    def _update(self, batches: Iterator[Batch]) -> None:
        """One update, with what it took."""
        progress, recipe = self.ready.progress, self.settings.recipe
        start = time.monotonic()
        taken = [next(batches) for _ in range(recipe.accumulation)]
        waited = time.monotonic() - start
        seed_all(self.settings.seed, UPDATE, progress.update, self.world.rank)
        own, made = self.ready.learner.update(progress.update, taken)
        loss = self.world.total(own)[0] / self.world.size
        seconds = time.monotonic() - start
        progress.add(loss, made, self.settings.images_an_update, seconds, waited)
        if progress.in_a_row > recipe.max_nonfinite:
            raise TrainingError(
                f"update {progress.update}: gradients must be finite (got {progress.in_a_row} "
                f"updates in a row that are not; the last loss is {loss:g}). Lower the rate with "
                "--set optimizer.lr=…, or use --set precision=fp32; the last checkpoint is kept."
            )

    def _show(self) -> None:
        progress, now = self.ready.progress, self.ready.progress.epoch
        steps = self.ready.order.steps
        moment = TrainingStatus(
            epoch=(progress.update - 1) // steps + 1,
            epochs=self.settings.recipe.epochs,
            done=progress.update,
            total=self.ready.updates,
            loss=now.loss / now.made if now.made else None,
            lr=self.ready.learner.lr,
            images_per_s=now.images / now.seconds if now.seconds else None,
            memory_mb=self.ready.peak_memory_mb(),
        )
        self.listener.update(moment)

    def _close_epoch(self) -> None:
        """Evaluate where it is time, write the epoch's row, keep the best weights, save."""
        progress, recipe = self.ready.progress, self.settings.recipe
        number = progress.update // self.ready.order.steps
        due = number % recipe.eval_every == 0 or number == recipe.epochs
        self._check_made(number)
        score = self.ready.evaluate(self.listener) if due else None
        self._warn(() if score is None else score.warnings())
        for names in self.world.gathered(self.ready.unreadable.names):
            self.ready.unreadable.names.update(names)
        row = self._row(number, score)
        better = progress.close(row)
        if self.world.first:
            if better:
                card = self.ready.card(score)
                weights = self.ready.learner.evaluated.state_dict()
                save_weights(self.run_folder / BEST, card, weights)
            self.ready.write(row)
        self._save(score)
        self.listener.epoch(row)

    def _check_made(self, number: int) -> None:
        """An epoch of which most was left out has not trained: it diverged."""
        now = self.ready.progress.epoch
        if now.skipped > now.made:
            raise TrainingError(
                f"epoch {number}: most gradients must be finite (got {now.skipped} of "
                f"{now.skipped + now.made} updates that had to be left out). Lower the rate with "
                "--set optimizer.lr=…, or use --set precision=fp32; the last checkpoint is kept."
            )

    def _row(self, number: int, score: Score | None) -> EpochMetrics:
        progress, now = self.ready.progress, self.ready.progress.epoch
        return {
            "epoch": number,
            "update": progress.update,
            "lr": self.ready.learner.lr,
            "train_loss": now.loss / now.made if now.made else None,
            "val_loss": None if score is None else score.loss,
            "val_top1": None if score is None else score.top1,
            "val_top5": None if score is None else score.top5,
            "val_n": None if score is None else score.n,
            "images_per_s": now.images / now.seconds if now.seconds else None,
            "waiting_share": now.waited / now.seconds if now.seconds else None,
            "seconds": now.seconds,
            "skipped": now.skipped,
            "unreadable": float(len(self.ready.unreadable.names)),
            "peak_memory_mb": self.ready.peak_memory_mb(),
        }

    def _warn(self, lines: Iterable[str]) -> None:
        """Say each line once in a training, not every epoch."""
        for line in lines:
            if line not in self.said:
                self.said.add(line)
                self.listener.say(line)

    def _due(self, seconds: float) -> bool:
        """Whether a checkpoint inside an epoch is due."""
        every, progress = self.how.save_updates, self.ready.progress
        by_count = every is not None and progress.update % every == 0
        return by_count or seconds > 60 * self.how.save_minutes

    def _save(self, score: Score | None = None) -> None:
        """Write a checkpoint; the first process does."""
        if not self.world.first:
            return
        learner, progress = self.ready.learner, self.ready.progress
        save(
            self.run_folder,
            progress.update,
            self.ready.card(score),
            learner.model.state_dict(),
            None if learner.ema is None else learner.ema.module.state_dict(),
            {
                "learner": learner.state(),
                "progress": progress.state(),
                "images": self.ready.order.n,
                "unreadable": self.ready.unreadable.names,
            },
            self.how.keep,
        )

    def _finished(self, asked_to_stop: bool) -> Finished:
        progress = self.ready.progress
        images = sum((row["images_per_s"] or 0) * (row["seconds"] or 0) for row in progress.history)
        seconds = sum(row["seconds"] or 0 for row in progress.history)
        waited = sum(
            (row["waiting_share"] or 0) * (row["seconds"] or 0) for row in progress.history
        )
        best = self.run_folder / BEST
        return Finished(
            run=self.run_folder,
            arch=self.settings.arch,
            epochs=len(progress.history),
            updates=progress.update,
            skipped=progress.skipped,
            best=progress.best,
            history=tuple(progress.history),
            validation_n=len(self.ready.splits.validation),
            images_per_s=images / seconds if seconds else None,
            waiting_share=waited / seconds if seconds else None,
            peak_memory_mb=self.ready.peak_memory_mb(),
            unreadable=dict(self.ready.unreadable.names),
            interrupted=progress.update < self.ready.end,
            weights=best if best.is_file() else None,
            asked_to_stop=asked_to_stop,
        )


@contextmanager
def _memory_explained(world: World, recipe: Recipe) -> Iterator[None]:
    """Tell of a full GPU in one line."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise TrainingError(
            f"{world.device}: its memory must hold a step (got none left at batch_size "
            f"{recipe.batch_size}). Lower --set batch_size=… and raise --set accumulation=…, or "
            "use --grad-checkpointing; go on with --resume auto."
        ) from error


@contextmanager
def _bits(deterministic: bool) -> Iterator[None]:
    """Only operators that give the same bits every time, where that is asked for."""
    before = torch.are_deterministic_algorithms_enabled()
    cudnn = torch.backends.cudnn
    kept = cudnn.deterministic, cudnn.benchmark
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # else torch refuses products
        torch.use_deterministic_algorithms(True)
        cudnn.deterministic, cudnn.benchmark = True, False  # what trying picks may differ
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        cudnn.deterministic, cudnn.benchmark = kept
