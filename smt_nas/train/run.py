"""A training from its request or its folder to its result; the way in for commands and rooms."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from smt_nas.arch import Architecture, load_arch
from smt_nas.errors import StoreError
from smt_nas.runtime.progress import TrainingListener
from smt_nas.runtime.turns import Steps, finish
from smt_nas.train.data.class_order import match_classes
from smt_nas.train.data.examples import Source
from smt_nas.train.data.sources import load_source
from smt_nas.train.loop import train_network
from smt_nas.train.processes.process_group import ProcessGroup
from smt_nas.train.processes.randomness import preserve_generators
from smt_nas.train.session import Training, prepare_inputs
from smt_nas.train.train_config import RunOptions, TrainConfig, TrainRequest
from smt_nas.train.training_directory import (
    contains_training,
    create_directory,
    find_free_folder,
    is_training_directory,
    lock_directory,
    read_config,
)
from smt_nas.train.training_state import TrainResult
from smt_nas.train.weights.weights import read_card


def start_training(
    request: TrainRequest,
    options: RunOptions,
    out: Path | None,
    resume: bool,
    group: ProcessGroup,
    listener: TrainingListener,
    arch: Architecture | None = None,
) -> TrainResult:
    """Begin a training, or go on with it; every process calls this.

    Args:
        request: what to train.
        options: how.
        out: its folder; None for a new one below runs/.
        resume: go on where `out` holds this training.
        group: the processes.
        listener: hears the first process.
        arch: the network; None looks `request.name` up.

    Raises:
        SmtNasError: the network, the data, the recipe, the folder; see there.
    """
    with preserve_generators(group.device):
        return finish(iterate_training(request, options, out, resume, group, listener, arch))


def iterate_training(
    request: TrainRequest,
    options: RunOptions,
    out: Path | None,
    resume: bool,
    group: ProcessGroup,
    listener: TrainingListener,
    arch: Architecture | None = None,
) -> Steps[TrainResult]:
    """`start_training` in steps, of an update each; the global generators are not put back."""
    source = _load_data(request.data, group, listener)
    config = group.run_on_all(
        lambda: _make_config(request, arch or load_arch(request.name), source, out, resume, group)
    )
    run = out or Path(group.broadcast(str(find_free_folder(request.name, request.data))))
    training = Training(run, config, options, group, source, listener)
    return (yield from _train_in_folder(training, resume))


def _make_config(
    request: TrainRequest,
    arch: Architecture,
    source: Source,
    out: Path | None,
    resume: bool,
    group: ProcessGroup,
) -> TrainConfig:
    """What is asked for; where an older version chose another recipe, what the folder holds."""
    config = request.to_config(arch, source, group.size)
    if request.recipe is None and resume and out is not None and is_training_directory(out):
        began = read_config(out)
        if began.recipe != config.recipe:
            named = replace(request, recipe=began.recipe_name)
            earlier = named.to_config(arch, source, group.size)
            return earlier if earlier.recipe == began.recipe else config
    return config


def resume_training(
    run: Path, options: RunOptions, group: ProcessGroup, listener: TrainingListener
) -> TrainResult:
    """Go on with the training of a folder, whatever it was asked for.

    Raises:
        StoreError: the folder holds none.
        TrainingError: an update's images cannot be divided among the processes there are now.
    """
    stored = group.run_on_all(lambda: read_config(run))
    config = group.run_on_all(lambda: stored.for_processes(group.size))
    if stored.processes != group.size:
        listener.say(
            f"It began with {stored.processes} processes and goes on with {group.size}: an update "
            "has the same images, but not the same bits."
        )
    source = _load_data(config.data, group, listener)
    training = Training(run, config, options, group, source, listener)
    with preserve_generators(group.device):
        return finish(_train_in_folder(training, resume=True))


def _load_data(data: str, group: ProcessGroup, listener: TrainingListener) -> Source:
    """The data set; the user hears what of it is not used."""
    source = group.run_on_all(lambda: load_source(data))
    for remark in source.remarks:
        listener.say(remark)
    return source


def _keep_class_order(run: Path, source: Source) -> Source:
    """The data with the classes in the order that a training began with.

    Folders named by numbers were once sorted as text; a head's rows stay what they were.
    """
    try:
        card = read_card(run)
    except StoreError:  # nothing was saved yet; a damaged file is told of where it is read
        return source
    if card is None or sorted(card.classes) != sorted(source.classes):
        return source
    return match_classes(str(run), card.classes, source).source


def _train_in_folder(training: Training, resume: bool) -> Steps[TrainResult]:
    run, config, group = training.folder, training.config, training.group
    with _lock_for_all(run, group):
        exists = group.broadcast(
            group.run_on_all(lambda: group.is_main and contains_training(run, config, resume))
        )
        if exists:
            source = group.run_on_all(lambda: _keep_class_order(run, training.source))
            training = replace(training, source=source)
        inputs = group.run_on_all(lambda: prepare_inputs(training))
        if not exists:
            group.run_on_all(
                lambda: create_directory(run, config, str(group.device)) if group.is_main else None
            )
        is_there = f"{run} holds this training."
        training.listener.say(is_there if exists else f"Run directory: {run}")
        return (yield from train_network(training, inputs))


@contextmanager
def _lock_for_all(run: Path, group: ProcessGroup) -> Iterator[None]:
    """The first process holds the folder; where it cannot, none goes on."""
    with ExitStack() as stack:
        group.run_on_all(
            lambda: stack.enter_context(lock_directory(run)) if group.is_main else None
        )
        yield
