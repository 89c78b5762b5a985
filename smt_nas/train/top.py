"""The best members of a search's front, trained by one recipe, with SMT-T trained beside them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from smt_nas import costs
from smt_nas.arch import PRESETS, Architecture, load_arch
from smt_nas.errors import TrainingError
from smt_nas.runtime.progress import TrainingListener
from smt_nas.train.process_group import World
from smt_nas.train.run import Asked, default_recipe, start
from smt_nas.train.settings import How
from smt_nas.train.train_result import Compared, Entrant, Finished

_BASELINE = "smt_t"
_FOLDER = "trained"


@dataclass(frozen=True)
class _Member:
    """A network to train.

    Attributes:
        name: how tables call it.
        path: what the training is told: a model config, or a preset's name.
        arch: the network.
    """

    name: str
    path: str
    arch: Architecture


def train_top(
    asked: Asked,
    top: int,
    seeds: int,
    how: How,
    out: Path | None,
    world: World,
    listener: TrainingListener,
) -> Compared:
    """Train the first members of a front and SMT-T, each with the same seeds.

    SMT-T is trained at the members' image size, with its own stem. What an earlier start finished
    is not trained again; what it began goes on.

    Args:
        asked: `name` is the run directory of a search; the seed is the first of the seeds.
        top: members, best score first.
        seeds: trainings of each.
        how: how.
        out: folder of the trainings; None for `trained` in the run directory.
        world: the processes.
        listener: hears the first process.

    Raises:
        TrainingError: the run has no front, or one of fewer members.
    """
    run = Path(asked.name)
    members = world.together(lambda: _members(run, top))
    recipe = asked.recipe or default_recipe(members[0].arch)
    chosen = tuple(range(asked.seed, asked.seed + seeds))
    folder = out or run / _FOLDER
    done: dict[str, list[Finished]] = {m.name: [] for m in members}
    for seed, member in itertools.product(chosen, members):
        one = replace(asked, name=member.path, recipe=recipe, seed=seed)
        listener.say(f"Training {member.name}, seed {seed}.")
        place = folder / f"{member.name}-seed{seed}"
        done[member.name].append(start(one, how, place, True, world, listener, member.arch))
        if done[member.name][-1].interrupted:
            break
    return _compared(members, done, folder, asked.data, recipe, chosen)


def _compared(
    members: Sequence[_Member],
    done: Mapping[str, Sequence[Finished]],
    folder: Path,
    data: str,
    recipe: str,
    seeds: tuple[int, ...],
) -> Compared:
    trained = [f for each in done.values() for f in each]
    return Compared(
        folder=folder,
        data=data,
        recipe=recipe,
        seeds=seeds,
        validation_n=trained[0].validation_n,
        entrants=tuple(_entrant(m, done[m.name]) for m in members),
        interrupted=any(f.interrupted for f in trained),
    )


def _members(run: Path, top: int) -> list[_Member]:
    """The first of the front, best first, and the baseline at their image size."""
    files = sorted(
        (p for p in (run / "front").glob("*.yaml") if p.stem.isdecimal()), key=lambda p: int(p.stem)
    )
    if len(files) < top:
        raise TrainingError(
            f"{run}: its front must have {top} networks (got {len(files)}). `smt-nas front {run}` "
            "shows it; name a run directory of `smt-nas search`, or a smaller --top."
        )
    members = [_Member(p.stem, str(p), load_arch(p)) for p in files[:top]]
    size = members[0].arch.image_size
    baseline = PRESETS[_BASELINE].model_copy(update={"image_size": size})
    return [*members, _Member(_BASELINE, _BASELINE, baseline)]


def _entrant(member: _Member, done: Sequence[Finished]) -> Entrant:
    arch = done[0].arch if done else member.arch  # with the head and the size of the training
    found = costs.of(arch)
    return Entrant(
        name=member.name,
        arch_key=arch.key,
        macs=found.macs,
        parameters=found.params,
        runs=tuple(f.run for f in done),
        top1=tuple(None if f.best is None else f.best["val_top1"] for f in done),
        images_per_s=tuple(f.images_per_s for f in done),
        baseline=member.name == _BASELINE,
    )
