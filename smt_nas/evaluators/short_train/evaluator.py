"""The `short-train` evaluator: networks trained for a few epochs on the user's data.

Few go all the way: see `halving`. What a network gets is its accuracy on the validation split after
the last epoch, with the learning rate run down; it is trained, but short.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from smt_nas.arch import Architecture
from smt_nas.evaluators import Evaluation, published_agreement
from smt_nas.evaluators.short_train.decisions import read_judged, write_judged
from smt_nas.evaluators.short_train.ranking import rungs
from smt_nas.evaluators.short_train.successive_halving import Race
from smt_nas.files import locked, make_folder
from smt_nas.metrics import METRICS
from smt_nas.runtime.process_pool import ProcessPool, available_cores
from smt_nas.runtime.progress import NullProgress, SearchListener
from smt_nas.space import Genes, SearchSpace
from smt_nas.train.assemble import check
from smt_nas.train.candidate import Job, readers, trained
from smt_nas.train.data.sources import Source, load_source, split
from smt_nas.train.process_group import joined
from smt_nas.train.recipe import load_recipe
from smt_nas.train.run import Asked, default_recipe
from smt_nas.train.settings import How
from smt_nas.train.weights.checkpoint import FOLDER as CHECKPOINTS

_WAY_OUT = "Choose another folder."


class ShortTraining(BaseModel):
    """What networks are trained for. Make it with `yaml.validated` for errors in one line.

    Attributes:
        data: as `load_source` takes it.
        epochs: of a network that goes all the way; the learning rate is run down over these.
        recipe: name or path; None chooses by the image size. Its share of warm-up is kept.
        changes: of the recipe, `field=value`.
        image_size: pixels; None for the networks' own, or the recipe's.
        seed: the same seed gives the same trainings; all networks share it, and so their split.
        eta: about one network in so many goes on from each rung.
        device: `cpu`, `cuda`, `cuda:N`; None for this machine's GPU where there is one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str
    epochs: Annotated[int, Field(ge=1, le=10_000)] = 4
    recipe: str | None = None
    changes: tuple[str, ...] = ()
    image_size: Annotated[int, Field(ge=32, le=8192)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    eta: Annotated[int, Field(ge=2, le=1_000)] = 3
    device: str | None = None

    @property
    def rungs(self) -> tuple[int, ...]:
        """Epochs after which networks are compared; the last are all."""
        return rungs(self.epochs, self.eta)

    @property
    def decisive(self) -> dict[str, Any]:
        """What decides the figures, as JSON has it."""
        return self.model_dump(mode="json", exclude={"device"})

    def asked(self, arch: Architecture) -> Asked:
        """The whole training of a network. Raises ConfigError."""
        sized, size = arch, tuple[str, ...]()
        if self.image_size is not None:
            sized = arch.model_copy(update={"image_size": self.image_size})
            size = (f"image_size={self.image_size}",)
        name = self.recipe or default_recipe(sized)
        whole = load_recipe(name)
        warm = f"warmup_epochs={whole.warmup_epochs * self.epochs / whole.epochs}"
        return Asked(
            name=arch.key,
            data=self.data,
            recipe=name,
            changes=(warm, *self.changes, *size, "eval_every=1"),
            epochs=self.epochs,
            seed=self.seed,
            new_head=True,
        )


@dataclass(frozen=True)
class ShortTrainEvaluator:
    """Rates networks by their validation accuracy after a short training.

    Attributes:
        settings: what they are trained for.
        folder: keeps a training a network, so that a killed search goes on; None for a temporary
            one.
        workers: processes that train; figures do not depend on it. None for one a core, or one in
            all on a GPU.
        listener: hears how far it is.
    """

    settings: ShortTraining
    folder: Path | None = None
    workers: int | None = None
    listener: SearchListener = field(default_factory=NullProgress)

    name = "short-train"
    objective = METRICS["val_top1"]
    baselines = ("smt_t",)  # the larger ones would take longer than a search
    exact = False

    def within(self, folder: Path) -> ShortTrainEvaluator:
        """The same, with its trainings in a folder."""
        return replace(self, folder=folder)

    @property
    def evidence(self) -> str:
        """Where the figures come from, in a line. Raises SmtNasError, of data or recipe."""
        settings = self.settings
        name = settings.recipe or "small"  # the default ones split alike
        recipe = load_recipe(name, settings.changes)
        seed = settings.seed if recipe.split_seed is None else recipe.split_seed
        n = len(split(self._source, recipe.validation, seed, recipe.images).train)
        epochs = ", ".join(map(str, settings.rungs))
        halving = f"successive halving by accuracy and MACs at epochs {epochs}"
        every = halving if len(settings.rungs) > 1 else "every network to the end"
        guess = published_agreement.words("predictor")
        return (
            f"{self.name}: val top-1 after {settings.epochs} epochs on {settings.data} ({n:,} "
            f"images), {every}; trained, but short: the order may change in a full training. The "
            f"predictor chooses the first networks{guess and f' (SMT-Bench-mini: {guess})'}."
        )

    def figures(self, space: SearchSpace, genes: Genes) -> NDArray[np.float64]:
        """What the predictor expects of (n, G) genes, (n,): a guess at their order."""
        from smt_nas.evaluators.predictor import PredictorEvaluator

        return PredictorEvaluator().figures(space, genes)

    def evaluate(self, archs: Sequence[Architecture]) -> list[Evaluation]:
        """Train networks, the better ones to the end; alone, one goes all the way.

        A network that was `stopped` on the way has no value.

        Raises:
            SmtNasError: the data or the recipe, or a folder that holds other trainings.
            KeyboardInterrupt: a training was told to stop; the same call goes on from there.
        """
        if not archs:
            return []
        decisive = self.settings.decisive
        with self._place() as folder:
            judged = read_judged(folder, decisive)
            new = {arch.key: arch for arch in archs if arch.key not in judged}
            if new:
                judged |= self._race([new[key] for key in sorted(new)], folder)
                write_judged(folder, decisive, judged)
                for key in new:
                    shutil.rmtree(folder / key / CHECKPOINTS, ignore_errors=True)
        return [judged[arch.key] for arch in archs]

    @cached_property
    def _source(self) -> Source:
        return load_source(self.settings.data)

    @contextmanager
    def _place(self) -> Iterator[Path]:
        """The folder of the trainings, held."""
        if self.folder is None:
            with TemporaryDirectory(prefix="smt-nas-") as folder:
                yield Path(folder)
            return
        make_folder(self.folder, _WAY_OUT)
        with locked(self.folder, _WAY_OUT):
            yield self.folder

    def _race(self, archs: Sequence[Architecture], folder: Path) -> Mapping[str, Evaluation]:
        settings = self.settings
        device = self._checked(archs[0])
        processes = self._processes(device)
        how = How(device=settings.device, workers=readers(device, processes), keep=1)
        jobs = [Job(arch, settings.asked(arch), how, folder / arch.key) for arch in archs]
        with ProcessPool(processes) as pool:
            train = partial(pool.map, trained, lost=str)
            return Race(settings.rungs, settings.eta, train, self.listener).run(jobs)

    def _checked(self, arch: Architecture) -> torch.device:
        """Find what is wrong with all trainings before the first. Returns where they run."""
        with joined(self.settings.device) as world:
            wanted = self.settings.asked(arch).settings(arch, self._source, world.size)
            recipe = wanted.recipe
            check(recipe, wanted.recipe_name, world)
            split(self._source, recipe.validation, wanted.split_seed, recipe.images)
            return world.device

    def _processes(self, device: torch.device) -> int:
        if self.workers is not None:
            return self.workers
        return 1 if device.type == "cuda" else available_cores()
