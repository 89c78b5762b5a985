"""Where scenes come from: `load_scenes("coco:DIR")`, `"ade20k:DIR"`, `"masks:DIR"`."""

from __future__ import annotations

from collections.abc import Callable

from smt_nas.costs.heads import Task
from smt_nas.errors import TrainingError, UnknownName
from smt_nas.train.data.scenes.coco import load_coco
from smt_nas.train.data.scenes.pixel_folders import load_ade20k, load_masks
from smt_nas.train.data.scenes.scene import SceneSource

SCENE_LOADERS: dict[Task, dict[str, Callable[[str, str], SceneSource]]] = {
    "detect": {"coco": load_coco},
    "segment": {"ade20k": load_ade20k, "masks": load_masks},
}
"""By task and kind; each takes the text that the user wrote, and the place in it."""


def load_scenes(task: Task, spec: str) -> SceneSource:
    """Find a data set of a task.

    Args:
        task: what is to be learnt of it.
        spec: kind and place, see the head of this module.

    Raises:
        UnknownName: no such kind of data set.
        TrainingError: its files are missing, damaged or in another layout, or it is of another
            task.
    """
    kind, _, place = spec.partition(":")
    loaders = SCENE_LOADERS[task]
    other = next((t for t, known in SCENE_LOADERS.items() if t != task and kind in known), None)
    if other is not None:
        raise TrainingError(
            f"{spec}: must be data to {task} by: {', '.join(f'{k}:DIR' for k in loaders)} (got "
            f"{kind}). It is of --task {other}."
        )
    if kind not in loaders:
        raise UnknownName(
            f"data to {task} by", kind, loaders, f"Write e.g. {next(iter(loaders))}:DIR."
        )
    if not place:
        raise TrainingError(f"{spec}: must say where its files are (got nothing). Use {kind}:DIR.")
    return loaders[kind](spec, place)
