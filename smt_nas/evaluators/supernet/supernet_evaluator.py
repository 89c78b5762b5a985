"""The `supernet` evaluator: how well networks do with the weights of a trained supernet.

Networks are ordered by mean cross entropy on the images that the supernet's training held out: of
two networks that are about equally good, accuracies of some thousand images differ by chance.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path

from smt_nas.arch import ONLY_IN, Architecture
from smt_nas.errors import ConfigError, SmtNasError, StoreError
from smt_nas.evaluators.base import Evaluation, call_guarded
from smt_nas.evaluators.configs import TrainedSupernet
from smt_nas.evaluators.evaluator_fingerprint import fingerprint_of_values
from smt_nas.evaluators.evidence import COVERAGE, INTERVAL_FACTOR, SupernetEvidence
from smt_nas.evaluators.supernet.supernet_directory import (
    SPACE,
    read_space,
    read_supernet_file,
)
from smt_nas.evaluators.supernet.trained_supernet import InheritedScore, Supernet, load_supernet
from smt_nas.metrics import METRICS
from smt_nas.space import SearchSpace
from smt_nas.space.patterns import ORDER
from smt_nas.space.space_config import StageOptions

TOP1 = "inherited_top1"
"""The component that holds the accuracy, in 0..1."""
_ENDS = (f"{TOP1}_low", f"{TOP1}_high")
_NAME = "supernet"


class SupernetEvaluator:
    """Evaluates networks by their loss with inherited weights. Each process loads them once.

    Args:
        config: which supernet.

    Raises:
        SmtNasError: none is there, its training has not ended, its file is damaged, or its data
            are gone or others.
    """

    objective = METRICS["inherited_loss"]
    judged_components = (TOP1,)

    def __init__(self, config: TrainedSupernet) -> None:
        self.name = f"{_NAME}:{config.run}"
        self.supernet = open_supernet(config.run, config.device)
        self.supernet.open_calibration_images(1)  # or every network would fail for want of data

    @cached_property
    def fingerprint(self) -> str:
        """Of the supernet's weights and data: one that was trained anew is another evaluator."""
        return fingerprint_of_values(_NAME, {"digest": self.supernet.digest})

    @property
    def evidence(self) -> SupernetEvidence:
        """The supernet, its data, and what of its space it was hardly, or thinly, trained for."""
        supernet = self.supernet
        return SupernetEvidence(
            evaluator=self.name,
            data=supernet.card.data,
            space=supernet.space.name,
            steps=supernet.card.step,
            digest=supernet.digest,
            rare=tuple(supernet.coverage.find_rare_in(supernet.space)),
            thin=tuple(supernet.coverage.find_thin_in(supernet.space)),
        )

    def check_space(self, space: SearchSpace) -> None:
        """Refuse a space whose networks the supernet does not hold. Raises ConfigError."""
        own = self.supernet.space
        if space.digest != own.digest and not holds_space(own, space):
            raise ConfigError(
                f"evaluator {self.name}: was trained on space {own.name} (got space {space.name}, "
                "which has other networks). Search with --space "
                f"{self.supernet.folder / SPACE}, or train a supernet of this space."
            )

    def holds(self, arch: Architecture) -> bool:
        """Whether the supernet can rate a network."""
        try:
            self.supernet.check(arch)
        except ConfigError:
            return False
        return True

    def evaluate(self, archs: Sequence[Architecture]) -> list[Evaluation]:
        """Rate each network; one that the supernet does not hold, or hardly trained, says why."""
        return [call_guarded(partial(self._rate, arch), "inherited") for arch in archs]

    def _rate(self, arch: Architecture) -> Evaluation:
        self.supernet.check(arch)
        (score,) = self.supernet.evaluate([arch])
        return _to_evaluation(score)


def _to_evaluation(score: InheritedScore) -> Evaluation:
    if not math.isfinite(score.loss):
        raise ValueError(f"inherited_loss must be a finite number (got {score.loss})")
    ends = dict(zip(_ENDS, (score.top1_low, score.top1_high), strict=True))
    trained = {COVERAGE: score.least_share, INTERVAL_FACTOR: score.widening}
    return Evaluation(
        score.loss,
        "inherited",
        interval=(score.loss_low, score.loss_high),
        components={TOP1: score.top1, **ends, **trained},
    )


def find_scope(run: str) -> tuple[str, tuple[str, ...]]:
    """The space of a supernet, and the budget that is its range of MACs, where it has one.

    The space is by the name that it was trained with, where that is the same still.

    Raises:
        StoreError: no supernet is there.
    """
    folder = Path(run)
    _check_folder(folder)
    settings, own = read_supernet_file(folder).settings, read_space(folder)
    budgets: tuple[str, ...] = ()
    if settings.macs is not None:
        low, high = (value / 1e6 for value in settings.macs)
        budgets = (f"{low:g}..{high:g}MMACs",)
    with contextlib.suppress(SmtNasError):
        if SearchSpace.load(settings.space).digest == own.digest:
            return settings.space, budgets
    return str(folder / SPACE), budgets


def open_supernet(run: str, device: str | None = None, partial: bool = False) -> Supernet:
    """The supernet of a folder.

    Args:
        run: the folder.
        device: as `load_supernet` takes it.
        partial: take one whose training has not ended.

    Raises:
        StoreError: the folder is not there, or holds no finished supernet.
    """
    folder = Path(run)
    _check_folder(folder)
    return load_supernet(folder, device, partial=partial)


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise StoreError(
            f"supernet {folder}: must be the folder of a supernet (got no such folder). If it was "
            "moved, move it back; a search looks for it where its run.yaml says."
        )


def holds_space(held: SearchSpace, space: SearchSpace) -> bool:
    """Whether all networks of a space are of another, as where options were dropped of it."""
    ours, theirs = held.config, space.config
    same = ("image_size", "in_channels", "layer_scale")
    if any(getattr(ours, name) != getattr(theirs, name) for name in same):
        return False
    if ours.stem.stride != theirs.stem.stride:
        return False
    kernels = set(theirs.stem.kernel) <= set(ours.stem.kernel)
    return kernels and all(_holds_stage(held, space, stage) for stage in range(len(ours.stages)))


def _holds_stage(held: SearchSpace, space: SearchSpace, stage: int) -> bool:
    """Whether all stages of a space are of another; options that act in no block do not count."""
    ours, theirs = held.config.stages[stage], space.config.stages[stage]
    orders, own_orders = (
        {order for by_depth in s.patterns[stage].first for order in by_depth} for s in (held, space)
    )
    if not own_orders <= orders:
        return False
    for dim in theirs.dim:
        widths, own_widths = ({int(dim * r) for r in o.mlp_ratio} for o in (ours, theirs))
        if not own_widths <= widths:
            return False
    mixers = {mixer for order in own_orders for mixer in order}
    acting = [
        field
        for field in StageOptions.model_fields
        if field not in (*ORDER, "mlp_ratio") and (field not in ONLY_IN or ONLY_IN[field] in mixers)
    ]
    return all(set(getattr(theirs, f)) <= set(getattr(ours, f)) for f in acting)
