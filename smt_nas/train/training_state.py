"""How far a training is: kept in its checkpoints, shown in metrics.csv."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from smt_nas.runtime.progress import EpochMetrics


@dataclass
class Epoch:
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


@dataclass
class Progress:
    """What has been done.

    Attributes:
        update: updates of the whole training so far, skipped ones included.
        in_a_row: the last so many were skipped.
        epoch: the one under way.
        best: the row of the best epoch by validation top-1; None before the first.
        history: a row for each epoch that was completed.
    """

    update: int = 0
    in_a_row: int = 0
    epoch: Epoch = field(default_factory=Epoch)
    best: EpochMetrics | None = None
    history: list[EpochMetrics] = field(default_factory=list)

    def add(self, loss: float, made: bool, images: int, seconds: float, waited: float) -> None:
        """Count one update."""
        now = self.epoch
        self.update += 1
        self.in_a_row = 0 if made else self.in_a_row + 1
        now.made += made
        now.skipped += not made
        now.loss += loss if made else 0.0
        now.images += images
        now.seconds += seconds
        now.waited += waited

    def close(self, row: EpochMetrics) -> bool:
        """End the epoch with its row. Returns whether it is the best so far."""
        self.history.append(row)
        self.epoch = Epoch()
        top1, best = row.get("val_top1"), None if self.best is None else self.best["val_top1"]
        better = top1 is not None and (best is None or top1 > best)
        if better:
            self.best = row
        return better

    @property
    def skipped(self) -> int:
        """Updates left out in the whole training."""
        return self.epoch.skipped + sum(int(row["skipped"] or 0) for row in self.history)

    def state(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    @classmethod
    def of_state(cls, state: dict[str, Any]) -> Progress:
        """From what `state` gave."""
        return cls(**{**state, "epoch": Epoch(**state["epoch"])})
