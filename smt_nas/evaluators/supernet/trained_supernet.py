"""`Supernet`: a trained store, which rates networks of its space and hands them out.

A rating is `inherited`: of weights that the network shares with all others. It ranks networks; it
is no accuracy that the network would have when trained alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from smt_nas import costs
from smt_nas.arch import Architecture
from smt_nas.conditions import Conditions
from smt_nas.errors import ConfigError, SmtNasError, SpaceError, StoreError
from smt_nas.evaluators.base import NORMAL_95
from smt_nas.evaluators.supernet.batch_norm_calibration import IMAGES, calibrate_batch_norms
from smt_nas.evaluators.supernet.coverage import LEAST_SHARE, Coverage
from smt_nas.evaluators.supernet.loss_log import LossRow, read_losses
from smt_nas.evaluators.supernet.supernet_card import SupernetCard, parse_supernet_card
from smt_nas.evaluators.supernet.supernet_directory import (
    LOSSES,
    SPACE,
    WEIGHTS,
    read_plan,
    read_space,
    read_supernet_file,
)
from smt_nas.evaluators.supernet.supernet_images import (
    RatingImages,
    choose_calibration_images,
    digest_data,
    open_rating_images,
)
from smt_nas.fingerprint import fingerprint
from smt_nas.models import SMT
from smt_nas.models.supernet import SupernetSpec, WeightStore
from smt_nas.runtime.progress import NullProgress
from smt_nas.runtime.torch_settings import apply_torch_settings
from smt_nas.space import SearchSpace
from smt_nas.train.data.class_order import match_classes
from smt_nas.train.data.examples import Examples, Source
from smt_nas.train.data.sources import Splits, load_source, make_splits
from smt_nas.train.evaluation import Score, evaluate
from smt_nas.train.processes.process_group import ProcessGroup, join_process_group
from smt_nas.train.weights.card import Card
from smt_nas.train.weights.checkpoint import EMA, MODEL, find_latest
from smt_nas.train.weights.tensors import read_tensors


@dataclass(frozen=True)
class InheritedScore:
    """How well a network does with the weights of the supernet.

    Attributes:
        key: of the network, as it was handed over.
        loss: mean cross entropy on the search split.
        loss_low, loss_high: 95 % interval of that.
        top1: share of its images whose class the network put first.
        top1_low, top1_high: 95 % interval of that.
        n: images.
        least_share: of the steps that trained the rarest choice of the network.
        widening: of the intervals: what the images alone say, times this; see `Coverage`.
        seconds: that calibrating and rating took.
    """

    key: str
    loss: float
    loss_low: float
    loss_high: float
    top1: float
    top1_low: float
    top1_high: float
    n: int
    least_share: float
    widening: float
    seconds: float


class Supernet:
    """Made by `load_supernet`.

    Args:
        folder: of its training.
        card: what its weights say of themselves.
        store: its weights, on the device of `group`.
        space: its space.
        group: one process.
        source: its data; None loads what it was trained on, once it is needed.

    Attributes:
        folder: of its training.
        card: what its weights say of themselves: data, split, recipe, seed.
        store: its weights, in eval mode.
        space: whose networks it rates.
        coverage: how often each choice was trained.
    """

    def __init__(
        self,
        folder: Path,
        card: SupernetCard,
        store: WeightStore,
        space: SearchSpace,
        group: ProcessGroup,
        source: Source | None = None,
    ) -> None:
        self.folder = folder
        self.card = card
        self.store = store.eval()
        self.space = space
        self.coverage = Coverage.from_dict(card.coverage)
        self._group = group
        self._source = source

    @property
    def spec(self) -> SupernetSpec:
        """What its store holds."""
        return self.store.spec

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the data's classes, in the order of the outputs."""
        return self.card.classes

    @property
    def losses(self) -> list[LossRow]:
        """Losses along its training."""
        return read_losses(self.folder / LOSSES)

    @cached_property
    def digest(self) -> str:
        """12 hex digits of its weights and data: what a rating depends on beside the network."""
        weights = "".join(
            fingerprint(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
            for tensor in self.store.named_tensors().values()
        )
        return fingerprint(f"{weights} {self.card.data_digest} {IMAGES}")

    def check(self, arch: Architecture, least: float = LEAST_SHARE) -> None:
        """Refuse a network that it does not hold, or was hardly trained for.

        Raises:
            ConfigError: the network is of another space, has more or fewer MACs than those that
                were trained, or a choice that few steps trained; says which.
        """
        self.spec.adapt(arch)
        self._check_in_space(arch)
        if self.card.macs is not None:
            (low, high), macs = self.card.macs, costs.of(arch).macs
            if not low <= macs <= high:
                raise ConfigError(
                    f"supernet {self.folder}: networks must have {low / 1e6:g} to {high / 1e6:g} "
                    f"MMACs, as those that were trained (got {macs / 1e6:.3g}). Use such a budget, "
                    "or train another."
                )
        rare = self.coverage.find_rare(arch, least)
        if rare:
            name, share = min(rare.items(), key=lambda pair: pair[1])
            raise ConfigError(
                f"supernet {self.folder}: {name} must have been trained in {least:.0%} of the "
                f"steps (got {share:.2%}). Train it longer, or drop that option from the space."
            )

    def _check_in_space(self, arch: Architecture) -> None:
        """A narrower FFN or fewer blocks than any that was trained would fit into the store."""
        own = arch.model_copy(update={"num_classes": self.space.config.num_classes})
        try:
            self.space.encode(own)
        except SpaceError as error:
            raise ConfigError(
                f"supernet {self.folder}: networks must be of the space that was trained (got "
                f"{str(error).rstrip('.')}). Use one of them, or train a supernet of your space."
            ) from error

    def evaluate(self, archs: Sequence[Architecture]) -> list[InheritedScore]:
        """Rate networks on the search split, each with batch norms calibrated for it.

        The figures of a network do not depend on which others are rated, or when.

        Raises:
            ConfigError: it does not hold one of them.
            TrainingError: its data are not what it was trained on.
        """
        return [self._rate(arch) for arch in archs]

    def extract(self, arch: Architecture) -> SMT:
        """The network with weights of its own, as it is rated: calibrated, in eval mode.

        Raises:
            ConfigError: it does not hold the network.
            TrainingError: its data are not what it was trained on.
        """
        return self.extract_calibrated(arch, self._calibration)

    def extract_calibrated(self, arch: Architecture, images: RatingImages) -> SMT:
        """As `extract`, with the statistics of other images."""
        network = self.store.extract(self.spec.adapt(arch))
        with self._settings():
            calibrate_batch_norms(network, images.load_batches())
        return network

    def score(self, network: SMT) -> Score:
        """How well a network does on the search split, as it is."""
        with self._settings():
            return evaluate(
                network,
                self._search.load_batches(),
                self.classes,
                self._group,
                "fp32",
                of=len(self._search),
            )

    def open_calibration_images(self, n: int) -> RatingImages:
        """Training images to calibrate with; the fewer are the first of the more."""
        return self._open(choose_calibration_images(self._splits.train, n))

    def make_card(self, arch: Architecture, score: InheritedScore | None = None) -> Card:
        """The card of a network that was taken out, for a file of its weights."""
        figures = None if score is None else {"top1": score.top1, "loss": score.loss}
        return self.card.for_network(self.spec.adapt(arch), self.digest, figures)

    def _rate(self, arch: Architecture) -> InheritedScore:
        start = time.monotonic()
        score, wider = self.score(self.extract(arch)), self.coverage.find_widening(arch)
        loss = math.inf if score.loss is None or score.nonfinite else score.loss
        half = NORMAL_95 * (score.loss_error or 0.0) * wider
        return InheritedScore(
            key=arch.key,
            loss=loss,
            loss_low=max(loss - half, 0.0),
            loss_high=loss + half,
            top1=score.top1,
            top1_low=max(score.top1 - wider * (score.top1 - score.top1_low), 0.0),
            top1_high=min(score.top1 + wider * (score.top1_high - score.top1), 1.0),
            n=score.n,
            least_share=self.coverage.find_least_share(arch),
            widening=wider,
            seconds=time.monotonic() - start,
        )

    @contextmanager
    def _settings(self) -> Iterator[None]:
        """One thread on a CPU, so that a rating is the same in every process."""
        with apply_torch_settings(Conditions(threads=1), self._group.device):
            yield

    @cached_property
    def _data(self) -> Source:
        source = self._source or self._load_source()
        source = match_classes(str(self.folder), self.card.classes, source).source
        digest = digest_data(source)
        if digest != self.card.data_digest:
            raise StoreError(
                f"supernet {self.folder}: {self.card.data} must hold the images that it was "
                f"trained on (got {digest}, then {self.card.data_digest}). Put them back, "
                "or train another."
            )
        return source

    def _load_source(self) -> Source:
        try:
            return load_source(self.card.data)
        except SmtNasError as error:
            raise StoreError(
                f"supernet {self.folder}: {self.card.data}, the images that it was trained on, "
                f"must be there (got: {error})"
            ) from error

    @cached_property
    def _splits(self) -> Splits:
        split = self.card.split
        fraction, seed = (0.5, 0) if split is None else (split.fraction, split.seed)
        return make_splits(self._data, fraction, seed, self.card.images)

    @cached_property
    def _search(self) -> RatingImages:
        return self._open(self._splits.validation)

    @cached_property
    def _calibration(self) -> RatingImages:
        return self.open_calibration_images(IMAGES)

    def _open(self, examples: Examples) -> RatingImages:
        return open_rating_images(
            examples, self._data, self.card.evaluation, self.spec, self._group
        )


def load_supernet(
    folder: Path,
    device: str | None = None,
    source: Source | None = None,
    partial: bool = False,
) -> Supernet:
    """Open a trained supernet.

    Args:
        folder: of its training.
        device: `cpu`, `cuda`, `cuda:N`; None for this machine's GPU where there is one.
        source: its data; None loads what it was trained on, once a network is rated.
        partial: take one whose training has not ended, as its last checkpoint has it.

    Raises:
        StoreError: none is there, it is damaged, or its training has not ended.
    """
    with join_process_group(device) as group:
        file = _find_weights(folder, partial)
        tensors, metadata = read_tensors(file)
        card = parse_supernet_card(metadata, file)
        store = WeightStore(card.spec, device="meta")
        store.load_tensors(tensors)
        store.to(group.device)
        return Supernet(folder, card, store, _read_trained_space(folder, card), group, source)


def _read_trained_space(folder: Path, card: SupernetCard) -> SearchSpace:
    space = read_space(folder)
    if space.digest != card.spec.space:
        raise StoreError(
            f"{folder / SPACE}: must be the space that was trained (got {space.digest}, its "
            f"weights say {card.spec.space}). Restore that file, or train with another --out."
        )
    return space


def _find_weights(folder: Path, partial: bool) -> Path:
    """The file of the weights that are rated."""
    read_supernet_file(folder)
    file = folder / WEIGHTS
    if file.is_file():
        return file
    checkpoint = find_latest(folder, NullProgress().say)
    if partial and checkpoint is not None:
        average = checkpoint.path / EMA
        return average if average.is_file() else checkpoint.path / MODEL
    plan, done = read_plan(folder), 0 if checkpoint is None else checkpoint.update
    of = "" if plan is None else f" of {plan.steps}"
    raise StoreError(
        f"{folder}: its training must have ended (got {done}{of} steps). Go on with the command "
        "that began it."
    )
