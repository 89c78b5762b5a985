"""Weights and data to a score: which network, which images, prepared how."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from smt_nas.arch import Architecture, load_arch
from smt_nas.conditions import Conditions
from smt_nas.errors import ConfigError, TrainingError
from smt_nas.models import SMT
from smt_nas.runtime.progress import TrainingListener
from smt_nas.runtime.torch_device import refusal
from smt_nas.runtime.torch_settings import apply_torch_settings
from smt_nas.train.data.batches.loader import (
    ReaderOptions,
    UnreadableImages,
    load_evaluation_batches,
)
from smt_nas.train.data.batches.reader_processes import explain_reader_failures
from smt_nas.train.data.batches.transforms import adapt_statistics, create_evaluation_transform
from smt_nas.train.data.class_order import (
    ClassMatch,
    Matching,
    match_classes,
    read_class_names,
)
from smt_nas.train.data.examples import Source
from smt_nas.train.data.memory.holding import HoldingOptions, hold_evaluation_images
from smt_nas.train.data.memory.memory_batches import iterate_evaluation_batches
from smt_nas.train.data.sources import load_source
from smt_nas.train.data.split_choice import EvalImages, SplitChoice, SplitName, choose_split
from smt_nas.train.evaluation import Score, Tta, evaluate
from smt_nas.train.processes.process_group import ProcessGroup
from smt_nas.train.recipe import EvalTransform, Precision
from smt_nas.train.steps.update_parts import Batch
from smt_nas.train.weights.card import Card
from smt_nas.train.weights.weights import (
    LoadedWeights,
    build_network,
    build_stated_network,
    read_weights,
)


class EvalRequest(BaseModel):
    """What is to be evaluated, and how.

    Attributes:
        weights: as `read_weights` takes them.
        data: as `load_source` takes it; None for what the weights were trained on.
        split: `auto` takes the test split; else the validation split, given or carved as in the
            training; else all there is.
        batch_size: images of one process at a time.
        workers: processes that read images, for each process.
        precision: of the forwards.
        resize: as in `recipe.Evaluation`; None as in the training.
        crop_pct: likewise.
        image_size: pixels; None as in the training.
        tta: `flip` takes an image and its mirror image.
        arch: preset or path of a model config, for weights that do not say.
        max_unreadable: images that may be unreadable.
        classes: text file with a class name a line, in the order of the head's rows; None for the
            names in the weights, or the data's where they have none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    weights: Path
    data: str | None = None
    split: SplitChoice = "auto"
    batch_size: Annotated[int, Field(ge=1, le=65536)] = 64
    workers: Annotated[int, Field(ge=0, le=256)] = 0
    precision: Precision = "fp32"
    resize: Literal["center", "direct"] | None = None
    crop_pct: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    image_size: Annotated[int, Field(ge=32, le=8192)] | None = None
    tta: Tta = "none"
    arch: str | None = None
    max_unreadable: Annotated[int, Field(ge=0, le=1_000_000)] = 100
    classes: Path | None = None


@dataclass(frozen=True)
class EvalResult:
    """A score, and what it is of.

    Attributes:
        score: over the images.
        request: what was asked.
        source: file of the weights.
        card: what the weights say of themselves; None for published ones.
        arch: the network.
        data: the data set.
        split: which of its images.
        carved: the split was held out of the training images by the weights' own rule.
        seen: the network may have been trained on some of the images.
        mirrors: a mirrored image keeps its class in these data.
        evaluation: how images were prepared.
        image_size: pixels.
        device: where.
        processes: how many.
        matching: how the classes of the data were matched with the head's rows.
        remarks: lines on what of the data is not used.
        averaged: the weights are a moving average.
        notes: on what was taken from the file, a line each.
        unreadable: images that this process could not read, each with the reason.
    """

    score: Score
    request: EvalRequest
    source: Path
    card: Card | None
    arch: Architecture
    data: str
    split: SplitName
    carved: bool
    seen: bool
    mirrors: bool
    evaluation: EvalTransform
    image_size: int
    device: str
    processes: int
    matching: Matching = "same"
    remarks: tuple[str, ...] = ()
    averaged: bool = False
    notes: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True)
class _EvalSetup:
    """All that is needed before an image is read."""

    loaded: LoadedWeights
    model: SMT
    source: Source
    images: EvalImages
    evaluation: EvalTransform
    image_size: int
    matching: Matching


def evaluate_weights(
    request: EvalRequest,
    group: ProcessGroup,
    listener: TrainingListener,
    *,
    hold: bool = False,
) -> EvalResult:
    """Evaluate weights on labelled images; every process calls this and gets the same result.

    Args:
        request: what.
        group: the processes; they share the images.
        listener: hears how far it is.
        hold: keep the images in memory where they fit, for other weights in this process.

    Raises:
        ConfigError: the network is not known, or named twice.
        StoreError: the weights are missing, damaged, or of another network than `arch`.
        TrainingError: the data, the split, classes that differ, a precision that cannot be had.
    """
    setup = group.run_on_all(lambda: _set_up(request, group))
    unreadable = UnreadableImages(request.max_unreadable)
    with ExitStack() as stack:
        stack.enter_context(explain_reader_failures(request.workers))
        if group.device.type == "cuda":
            stack.enter_context(
                apply_torch_settings(Conditions(precision=request.precision), group.device)
            )
        score = evaluate(
            setup.model.to(group.device),
            _load_batches(setup, request, group, unreadable, hold),
            setup.source.classes,
            group,
            request.precision,
            request.tta,
            listener,
            of=len(setup.images),
            confusions=True,
        )
    return _make_result(request, setup, group, score, unreadable)


def _make_result(
    request: EvalRequest,
    setup: _EvalSetup,
    group: ProcessGroup,
    score: Score,
    unreadable: UnreadableImages,
) -> EvalResult:
    return EvalResult(
        score=score,
        request=request,
        source=setup.loaded.source,
        card=setup.loaded.card,
        arch=setup.model.arch,
        data=setup.source.spec,
        split=setup.images.split,
        carved=setup.images.carved,
        seen=setup.images.seen,
        mirrors=setup.source.mirrors,
        evaluation=setup.evaluation,
        image_size=setup.image_size,
        device=str(group.device),
        processes=group.size,
        matching=setup.matching,
        remarks=setup.source.remarks,
        averaged=setup.loaded.averaged,
        notes=setup.loaded.notes,
        unreadable=tuple(f"{name} ({reason})" for name, reason in unreadable.names.items()),
    )


def _load_batches(
    setup: _EvalSetup,
    request: EvalRequest,
    group: ProcessGroup,
    unreadable: UnreadableImages,
    hold: bool,
) -> Iterator[Batch]:
    """This process's share of the images, prepared as they were in the training."""
    card, source = setup.loaded.card, setup.source
    size, channels = setup.image_size, setup.model.arch.in_channels
    mean, std = (source.mean, source.std) if card is None else (card.mean, card.std)
    transform = create_evaluation_transform(setup.evaluation, size, channels, mean, std)
    norm = adapt_statistics(mean, channels), adapt_statistics(std, channels)
    loading = ReaderOptions(request.workers, group.device.type == "cuda", request.max_unreadable)
    place = (request.batch_size, group.rank, group.size)
    for part in setup.images.parts:
        options = HoldingOptions(group.device, size, channels, group.size, request.workers)
        images = hold_evaluation_images(part, setup.evaluation, options) if hold else None
        if images is None:
            yield from load_evaluation_batches(part, transform, *place, loading, unreadable)
        else:
            yield from iterate_evaluation_batches(images, part, norm, place, unreadable)


def _set_up(request: EvalRequest, group: ProcessGroup) -> _EvalSetup:
    reason = refusal(request.precision, group.device)
    if reason is not None:
        raise TrainingError(
            f"--precision {request.precision}: cannot be had on {group.device}: {reason}"
        )
    loaded = read_weights(request.weights)
    model = _resolve_network(loaded, request.arch)
    card = loaded.card
    spec = request.data or (None if card is None else card.data)
    if spec is None:
        raise ConfigError(f"{loaded.source}: does not say its data (got no --data). Name them.")
    match = _match_classes(loaded, request, model.arch.num_classes, load_source(spec))
    source = match.source
    return _EvalSetup(
        loaded=loaded,
        model=model,
        source=source,
        images=choose_split(source, request.split, card),
        evaluation=_choose_transform(request, card),
        image_size=request.image_size
        or (model.arch.image_size if card is None else card.image_size),
        matching=match.how,
    )


def _resolve_network(loaded: LoadedWeights, arch: str | None) -> SMT:
    """The network that the weights are of, or are said to be of."""
    if loaded.card is not None:
        if arch is not None:
            raise ConfigError(
                f"--arch {arch}: is for weights that do not say their network (got "
                f"{loaded.source}, of {loaded.card.arch.key}). Leave it out."
            )
        return build_network(loaded)
    if arch is None:
        raise ConfigError(
            f"{loaded.source}: does not say its network (got no --arch). Name it, e.g. --arch "
            "smt_t."
        )
    return build_stated_network(loaded, load_arch(arch), arch, "Name another --arch.")


def _match_classes(
    loaded: LoadedWeights, request: EvalRequest, outputs: int, source: Source
) -> ClassMatch:
    """Labels must mean the same to the network and in the data."""
    there = len(source.classes)
    if outputs != there:
        raise TrainingError(
            f"{loaded.source}: the head must have an output for each class of {source.spec} (got "
            f"{outputs} outputs, {there} classes). Evaluate it on data of the classes it was "
            "trained for."
        )
    if request.classes is None:
        names = () if loaded.card is None else loaded.card.classes
        return match_classes(str(loaded.source), names, source)
    names = read_class_names(request.classes, outputs)
    return match_classes(f"--classes {request.classes}", names, source)


def _choose_transform(request: EvalRequest, card: Card | None) -> EvalTransform:
    """How images are prepared: as in the training, but for what is asked."""
    usual = EvalTransform() if card is None else card.evaluation
    changes = {"resize": request.resize, "crop_pct": request.crop_pct}
    return usual.model_copy(update={k: v for k, v in changes.items() if v is not None})
