"""Networks trained from rung to rung, each rung by those that did best at the one before."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from smt_nas import costs
from smt_nas.errors import StoreError, format_count
from smt_nas.evaluators.base import Evaluation
from smt_nas.evaluators.short_train.ranking import count_epochs, count_kept, dominators, rank
from smt_nas.evaluators.short_train.rung_progress import RungProgress
from smt_nas.metrics import METRICS
from smt_nas.runtime.progress import EpochMetrics, ProgressListener
from smt_nas.train.train_job import JobResult, TrainJob
from smt_nas.train.training_state import TrainingState, TrainResult

Train = Callable[[Sequence[TrainJob]], Iterable[JobResult]]
"""Trains each job up to where it says; answers in the same order, fewer where it is to stop."""


@dataclass(frozen=True)
class Arrived:
    """A network that was trained up to a rung.

    Attributes:
        job: its training.
        rows: of the epochs up to the rung.
        macs: of the network as trained.
        top1: share of the validation split, after the last of these epochs.
    """

    job: TrainJob
    rows: tuple[EpochMetrics, ...]
    macs: int
    top1: float

    @property
    def seconds(self) -> float:
        """What its epochs took, without evaluating and saving."""
        return sum(row.seconds or 0.0 for row in self.rows)


@dataclass(frozen=True)
class Race:
    """The rules of one.

    Attributes:
        rungs: epochs after which networks are compared, ascending.
        eta: one in so many goes on.
        train: makes trainings.
        listener: hears of each rung.
    """

    rungs: tuple[int, ...]
    eta: int
    train: Train
    listener: ProgressListener

    def run(self, jobs: Sequence[TrainJob]) -> dict[str, Evaluation]:
        """Run it, and again among those that were stopped where all that went on failed.

        Returns: by key, of each job; those that were stopped or failed say why.

        Raises:
            StoreError: a folder cannot be written; what was trained is kept.
            KeyboardInterrupt: a training was told to stop; it has saved.
        """
        evaluations = self._once(jobs)
        stopped = [job for job in jobs if evaluations[job.arch.key].stopped]
        if stopped and all(e.value is None for e in evaluations.values()):
            # up to where they were stopped they are trained already
            evaluations |= self.run(stopped)
        return evaluations

    def _once(self, jobs: Sequence[TrainJob]) -> dict[str, Evaluation]:
        """From the first rung to the last; the next best takes the place of one that fails."""
        evaluations: dict[str, Evaluation] = {}
        here, waiting, wanted, last = list[Arrived](), list(jobs), len(jobs), 0
        trained = 0
        for place, epoch in enumerate(self.rungs):
            there = list[Arrived]()
            planned = trained + count_epochs(wanted, self.rungs[place:], self.eta, last)
            while waiting and len(there) < wanted:
                free = wanted - len(there)
                starting, waiting = waiting[:free], waiting[free:]
                progress = RungProgress(starting, last, epoch, trained, planned, self.listener)
                trained += len(starting) * (epoch - last)
                for job, answer in self._arrivals(progress):
                    if isinstance(answer, Arrived):
                        there.append(answer)
                    else:
                        evaluations[job.arch.key] = Evaluation(None, "trained", failure=answer)
            stopped = range(len(here) - len(waiting), len(here))  # the last of their rung
            evaluations |= {
                here[i].job.arch.key: self._explain_stop(i, here, last) for i in stopped
            }
            here, last = _best_first(there), epoch
            waiting, wanted = [a.job for a in here], count_kept(len(here), self.eta)
        return evaluations | {a.job.arch.key: evaluate_rows(a.rows) for a in here}

    def _arrivals(self, progress: RungProgress) -> Iterator[tuple[TrainJob, Arrived | str]]:
        jobs, epoch = progress.jobs, progress.end
        networks = format_count(len(jobs), "network")
        self.listener.say(f"Training {networks} to epoch {epoch} of {self.rungs[-1]}.")
        with progress.watch():
            answers = iter(self.train([job.until(epoch) for job in jobs]))
            for job in jobs:
                answer = next(answers, None)
                if answer is None:  # it was not begun
                    raise KeyboardInterrupt
                progress.arrive()
                if isinstance(answer, StoreError):
                    raise answer
                if isinstance(answer, str):
                    self.listener.say(f"{job.arch.key} failed: {answer}")
                    yield job, answer
                elif answer.stop_requested:
                    raise KeyboardInterrupt
                else:
                    yield job, _note_arrival(job, epoch, answer)

    def _explain_stop(self, i: int, rung: Sequence[Arrived], epoch: int) -> Evaluation:
        """The i-th best of a rung, which did not go on, and why."""
        own, n = rung[i], len(rung)
        better = dominators(i, [a.top1 for a in rung], [a.macs for a in rung])
        why = f"not dominated, but only {count_kept(n, self.eta)} of {n} had a place"
        if better:
            by = rung[better[0]]  # the best of them
            why = f"dominated by {by.job.arch.key} ({_figures(by)})"
        return Evaluation(
            value=None,
            provenance="trained",
            components={"val_top1_at_rung": own.top1, "epochs": float(epoch)},
            seconds=own.seconds,
            failure=f"stopped after {epoch} of {self.rungs[-1]} epochs: {_figures(own)}, {why}",
            stopped=True,
        )


def _best_first(rung: Sequence[Arrived]) -> list[Arrived]:
    order = rank([a.top1 for a in rung], [a.macs for a in rung])
    return [rung[i] for i in order]


def evaluate_rows(rows: Sequence[EpochMetrics]) -> Evaluation:
    """Of a network that was trained to the end, from its epochs; the last has a top-1."""
    seconds = sum(row.seconds or 0.0 for row in rows)
    figures = {
        "epochs": float(len(rows)),
        "val_loss": rows[-1].val_loss,
        "images_per_s": TrainingState(history=list(rows)).images_per_s,
        "seconds": seconds,
    }
    components = {k: v for k, v in figures.items() if v is not None and math.isfinite(v)}
    return Evaluation(rows[-1].val_top1, "trained", components=components, seconds=seconds)


def _figures(at: Arrived) -> str:
    return f"val top-1 {100 * at.top1:.1f} % at {METRICS['macs'].describe(at.macs)}"


def _note_arrival(job: TrainJob, epoch: int, finished: TrainResult) -> Arrived | str:
    """A training at a rung, or why it cannot be compared there."""
    rows = finished.history[:epoch]
    top1 = rows[-1].val_top1
    if top1 is None:
        return f"epoch {epoch}: no image of the validation split could be read."
    macs = costs.of(finished.arch).macs
    return Arrived(job, rows, macs, top1)
