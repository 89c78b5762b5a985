"""What comes of a training, of planning one, and of comparing several: values for reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from smt_nas.arch import Architecture
from smt_nas.runtime.progress import EpochMetrics


@dataclass(frozen=True)
class Finished:
    """A training that reached its end, or the epoch it was to stop after, or was interrupted.

    Attributes:
        run: its folder.
        arch: the network as it was trained.
        epochs: completed.
        updates: of the whole training so far, skipped ones included.
        skipped: updates left out, as their gradients were not finite.
        best: the row of the best epoch by validation top-1; None before the first evaluation.
        history: a row for each epoch that was completed.
        validation_n: images of the validation split.
        images_per_s: of all processes, over all epochs; None before the first.
        waiting_share: share of the time of training in which this process waited for images.
        peak_memory_mb: the most that one process held, MB of 1e6 bytes.
        unreadable: images that could not be read, with the reason.
        interrupted: it was stopped before where it was to go.
        weights: file of the best epoch's weights.
        asked_to_stop: by Ctrl-C or SIGTERM, if only after its last update: what would come next is
            not wanted either.
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
    asked_to_stop: bool = False

    @property
    def arch_key(self) -> str:
        """Key of the network."""
        return self.arch.key


@dataclass(frozen=True)
class DryRun:
    """What a training would be.

    Attributes:
        recipe_yaml: the resolved recipe.
        data: as the user wrote it.
        classes: number of them.
        train_n: images trained on.
        validation_n: images held out.
        processes: of the training.
        batch: images of one process in one step.
        images_an_update: of all processes and steps.
        updates_an_epoch: updates that an epoch's images make up.
        updates: of the whole training.
        curve: (update, learning rate), ascending; the first, the peak and the last among them.
        parameters: learned numbers of the network.
        macs: for one image.
        memory_mb: of one process, MB of 1e6 bytes, by what holds it: weights, gradients,
            optimizer, ema, activations, total; None where it is not known.
    """

    recipe_yaml: str
    data: str
    classes: int
    train_n: int
    validation_n: int
    processes: int
    batch: int
    images_an_update: int
    updates_an_epoch: int
    updates: int
    curve: tuple[tuple[int, float], ...]
    parameters: int
    macs: int
    memory_mb: Mapping[str, float | None]


@dataclass(frozen=True)
class Entrant:
    """One network of a comparison, trained once for each seed.

    Attributes:
        name: how tables call it: a member of the front, or a preset.
        arch_key: key of the network as trained.
        macs: for one image, as trained.
        parameters: learned numbers, as trained.
        runs: folders of its trainings, one a seed, in the order of the seeds; fewer where the
            comparison was interrupted.
        top1: best validation top-1 of each, in 0..1.
        images_per_s: of each.
        baseline: it is there to compare with.
    """

    name: str
    arch_key: str
    macs: int
    parameters: int
    runs: tuple[Path, ...]
    top1: tuple[float | None, ...]
    images_per_s: tuple[float | None, ...]
    baseline: bool = False


@dataclass(frozen=True)
class Compared:
    """Networks trained by the same recipe, seeds and data.

    Attributes:
        folder: what holds the trainings.
        data: as the user wrote it.
        recipe: its name.
        seeds: of the trainings.
        validation_n: images of the validation split.
        entrants: members of the front first, then baselines.
        interrupted: it can go on.
    """

    folder: Path
    data: str
    recipe: str
    seeds: tuple[int, ...]
    validation_n: int
    entrants: tuple[Entrant, ...]
    interrupted: bool = False
