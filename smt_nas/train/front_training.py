"""Members of a search's front, trained by one recipe, with presets trained beside them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from smt_nas import costs
from smt_nas.arch import PRESETS, Architecture, load_arch
from smt_nas.errors import TrainingError
from smt_nas.files import shell_word
from smt_nas.runtime.progress import EvalWarning, TrainingListener, TrainingWarning
from smt_nas.train.processes.process_group import ProcessGroup
from smt_nas.train.run import start_training
from smt_nas.train.train_config import RunOptions, TrainRequest
from smt_nas.train.training_directory import read_config
from smt_nas.train.training_state import TrainResult

_BASELINE = "smt_t"
Inherit = Callable[[str], str]
"""From the path of a network's config to a file of weights that it starts from."""
FOLDER = "trained"


@dataclass(frozen=True)
class ComparedNetwork:
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
class TrainingComparison:
    """Networks trained by the same recipe, seeds and data.

    Attributes:
        folder: what holds the trainings.
        data: as the user wrote it.
        recipe: its name.
        seeds: of the trainings.
        validation_n: images of the validation split.
        networks: members of the front first, then baselines.
        interrupted: it can go on.
    """

    folder: Path
    data: str
    recipe: str
    seeds: tuple[int, ...]
    validation_n: int
    networks: tuple[ComparedNetwork, ...]
    interrupted: bool = False


@dataclass(frozen=True)
class FrontMember:
    """A network to train.

    Attributes:
        name: how tables call it.
        path: what the training is told: a model config, a preset's name, or a key.
        arch: the network.
        folder: of its trainings, but for their seed; None for its name.
        baseline: it is there to compare with.
        init: weights that it starts from; None for those of the request.
    """

    name: str
    path: str
    arch: Architecture
    folder: str | None = None
    baseline: bool = False
    init: str | None = None


class _OnceListener:
    """Tells of several trainings what is common to them, as of their data, once."""

    def __init__(self, listener: TrainingListener) -> None:
        self._listener = listener
        self._lines: set[str] = set()
        self._warnings: set[EvalWarning | TrainingWarning] = set()
        self.update = listener.update
        self.evaluated = listener.evaluated
        self.epoch = listener.epoch

    def say(self, text: str) -> None:
        """One line, unless it was said."""
        if text not in self._lines:
            self._lines.add(text)
            self._listener.say(text)

    def warn(self, warning: EvalWarning | TrainingWarning) -> None:
        """One warning, unless it was told."""
        if warning not in self._warnings:
            self._warnings.add(warning)
            self._listener.warn(warning)


def train_front(
    request: TrainRequest,
    top: int,
    seeds: int,
    options: RunOptions,
    out: Path | None,
    group: ProcessGroup,
    listener: TrainingListener,
    inherit: Inherit | None = None,
) -> TrainingComparison:
    """Train the first members of a front and SMT-T, each with the same seeds.

    SMT-T is trained at the members' image size, with its own stem. What an earlier start finished
    is not trained again; what it began goes on.

    Args:
        request: `name` is the run directory of a search; the seed is the first of the seeds.
        top: members, best score first.
        seeds: trainings of each.
        options: how.
        out: folder of the trainings; None for `trained` in the run directory.
        group: the processes.
        listener: hears the first process.
        inherit: gives each member of the front weights to start from; SMT-T has fresh ones.

    Raises:
        TrainingError: the run has no front, or one of fewer members.
    """
    run = Path(request.name)
    members = group.run_on_all(lambda: _list_members(run, top))
    if inherit is not None:
        members = [m if m.baseline else replace(m, init=inherit(m.path)) for m in members]
        request = replace(request, beside_fresh=True)
        listener.say(f"{_BASELINE} is not in the supernet: it starts from fresh weights.")
    return train_members(members, request, seeds, options, out or run / FOLDER, group, listener)


def train_members(
    members: Sequence[FrontMember],
    request: TrainRequest,
    seeds: int,
    options: RunOptions,
    folder: Path,
    group: ProcessGroup,
    listener: TrainingListener,
) -> TrainingComparison:
    """Train networks by one recipe, each with the same seeds.

    What an earlier start finished is not trained again; what it began goes on.

    Args:
        members: the networks, baselines last.
        request: how they are trained; the seed is the first of the seeds.
        seeds: trainings of each.
        options: how.
        folder: of the trainings.
        group: the processes.
        listener: hears the first process.

    Raises:
        SmtNasError: the data, the recipe, a folder.
    """
    all_seeds = tuple(range(request.seed, request.seed + seeds))
    results: dict[str, list[TrainResult]] = {m.name: [] for m in members}
    listener = _OnceListener(listener)
    for seed, member in itertools.product(all_seeds, members):
        own = replace(request, name=member.path, seed=seed, init=member.init or request.init)
        listener.say(f"Training {member.name}, seed {seed}.")
        place = folder / f"{member.folder or member.name}-seed{seed}"
        result = start_training(own, options, place, True, group, listener, member.arch)
        results[member.name].append(result)
        if result.interrupted:
            break
    return _compare(members, results, folder, request.data, all_seeds)


def _compare(
    members: Sequence[FrontMember],
    results: Mapping[str, Sequence[TrainResult]],
    folder: Path,
    data: str,
    seeds: tuple[int, ...],
) -> TrainingComparison:
    trained = [result for each in results.values() for result in each]
    return TrainingComparison(
        folder=folder,
        data=data,
        recipe=read_config(trained[0].run).recipe_name,
        seeds=seeds,
        validation_n=trained[0].validation_n,
        networks=tuple(_summarise(m, results[m.name]) for m in members),
        interrupted=any(result.interrupted for result in trained),
    )


def _list_members(run: Path, top: int) -> list[FrontMember]:
    """The first of the front, best first, and the baseline at their image size."""
    files = sorted(
        (p for p in (run / "front").glob("*.yaml") if p.stem.isdecimal()), key=lambda p: int(p.stem)
    )
    if len(files) < top:
        raise TrainingError(
            f"{run}: its front must have {top} networks (got {len(files)}). `smt-nas front "
            f"{shell_word(run)}` shows it; name a run directory of `smt-nas search`, or a smaller "
            "--top."
        )
    members = [FrontMember(p.stem, str(p), load_arch(p)) for p in files[:top]]
    size = members[0].arch.image_size
    baseline = PRESETS[_BASELINE].model_copy(update={"image_size": size})
    return [*members, FrontMember(_BASELINE, _BASELINE, baseline, baseline=True)]


def _summarise(member: FrontMember, results: Sequence[TrainResult]) -> ComparedNetwork:
    # with the head and the size of the training, where there was one
    arch = results[0].arch if results else member.arch
    cost = costs.of(arch)
    return ComparedNetwork(
        name=member.name,
        arch_key=arch.key,
        macs=cost.macs,
        parameters=cost.params,
        runs=tuple(result.run for result in results),
        top1=tuple(None if r.best is None else r.best.val_top1 for r in results),
        images_per_s=tuple(result.images_per_s for result in results),
        baseline=member.baseline,
    )
