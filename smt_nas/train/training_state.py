"""How far a training is, as its checkpoints keep it, and what came of it in the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from smt_nas.arch import Architecture
from smt_nas.runtime.progress import EpochMetrics, TrainingWarning


@dataclass
class EpochSums:
    """Sums over the updates of the epoch under way.

    Attributes:
        loss: sum of the updates' mean losses over all processes, of those made.
        made: updates made.
        skipped: updates left out.
        images: of all processes.
        seconds: of training, without evaluating and saving.
        waited: seconds of them in which this process waited for images.
    """

    loss: float = 0.0
    made: int = 0
    skipped: int = 0
    images: int = 0
    seconds: float = 0.0
    waited: float = 0.0

    @property
    def mean_loss(self) -> float | None:
        """Over the updates made; None before the first."""
        return self.loss / self.made if self.made else None

    @property
    def images_per_s(self) -> float | None:
        """Of all processes; None before the first update."""
        return self.images / self.seconds if self.seconds else None

    @property
    def waiting_share(self) -> float | None:
        """Share of the time in which this process waited; None before the first update."""
        return self.waited / self.seconds if self.seconds else None


@dataclass
class TrainingState:
    """What has been done; checkpoints keep these fields by name.

    Attributes:
        update: updates of the whole training so far, skipped ones included.
        in_a_row: the last so many were skipped.
        epoch: the one under way.
        best: metrics of the best epoch by validation top-1; None before the first.
        history: of each epoch that was completed.
    """

    update: int = 0
    in_a_row: int = 0
    epoch: EpochSums = field(default_factory=EpochSums)
    best: EpochMetrics | None = None
    history: list[EpochMetrics] = field(default_factory=list)

    def add_update(self, images: int, seconds: float, waited: float) -> None:
        """Count one update; what came of it may be added later, in order."""
        sums = self.epoch
        self.update += 1
        sums.images += images
        sums.seconds += seconds
        sums.waited += waited

    def add_outcome(self, loss: float, is_updated: bool) -> None:
        """Count what came of an update."""
        sums = self.epoch
        self.in_a_row = 0 if is_updated else self.in_a_row + 1
        sums.made += is_updated
        sums.skipped += not is_updated
        sums.loss += loss if is_updated else 0.0

    def close_epoch(self, metrics: EpochMetrics) -> bool:
        """End the epoch with its metrics. Returns whether it is the best so far."""
        self.history.append(metrics)
        self.epoch = EpochSums()
        best = None if self.best is None else self.best.val_top1
        is_better = metrics.val_top1 is not None and (best is None or metrics.val_top1 > best)
        if is_better:
            self.best = metrics
        return is_better

    @property
    def skipped(self) -> int:
        """Updates left out in the whole training."""
        return self.epoch.skipped + sum(metrics.skipped or 0 for metrics in self.history)

    @property
    def images_per_s(self) -> float | None:
        """Over all epochs completed; None before the first."""
        return self._mean_over_time([metrics.images_per_s for metrics in self.history])

    @property
    def waiting_share(self) -> float | None:
        """Over all epochs completed; None before the first."""
        return self._mean_over_time([metrics.waiting_share for metrics in self.history])

    def _mean_over_time(self, rates: list[float | None]) -> float | None:
        seconds = [metrics.seconds or 0.0 for metrics in self.history]
        total = sum((rate or 0.0) * s for rate, s in zip(rates, seconds, strict=True))
        return total / sum(seconds) if sum(seconds) else None

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainingState:
        """From what `to_dict` gave."""
        best = values["best"]
        return cls(
            update=values["update"],
            in_a_row=values["in_a_row"],
            epoch=EpochSums(**values["epoch"]),
            best=None if best is None else EpochMetrics.from_dict(best),
            history=[EpochMetrics.from_dict(metrics) for metrics in values["history"]],
        )


@dataclass(frozen=True)
class TrainResult:
    """A training that reached its end, or the epoch it was to stop after, or was interrupted.

    Attributes:
        run: its folder.
        arch: the network as it was trained.
        epochs: completed.
        updates: of the whole training so far, skipped ones included.
        skipped: updates left out, as their gradients were not finite.
        best: metrics of the best epoch by validation top-1; None before the first evaluation.
        history: metrics of each epoch that was completed.
        validation_n: images of the validation split.
        images_per_s: of all processes, over all epochs; None before the first.
        waiting_share: share of the time of training in which this process waited for images.
        peak_memory_mb: the most that one process held, MB of 1e6 bytes.
        unreadable: images that could not be read, with the reason.
        interrupted: it was stopped before where it was to go.
        weights: file of the best epoch's weights.
        stop_requested: by Ctrl-C or SIGTERM, if only after its last update: what would come next
            is not wanted either.
        warnings: what a reader must know of it.
    """

    run: Path
    arch: Architecture
    epochs: int
    updates: int
    skipped: int
    best: EpochMetrics | None
    history: tuple[EpochMetrics, ...]
    validation_n: int
    images_per_s: float | None
    waiting_share: float | None
    peak_memory_mb: float | None
    unreadable: Mapping[str, str]
    interrupted: bool
    weights: Path | None
    stop_requested: bool = False
    warnings: tuple[TrainingWarning, ...] = ()
