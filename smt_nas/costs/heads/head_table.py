"""HEADS: which heads there are, of which task, at which input; and what is published of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from smt_nas.costs.heads.detection_heads import count_mask_rcnn, count_retinanet
from smt_nas.costs.heads.head_config import (
    HeadConfig,
    MaskRCNNConfig,
    RetinaNetConfig,
    UPerNetConfig,
)
from smt_nas.costs.heads.head_part import HeadPart, Maps
from smt_nas.costs.heads.segmentation_heads import count_upernet
from smt_nas.costs.parts import Size
from smt_nas.errors import ConfigError, UnknownName

Task = Literal["detect", "segment"]


@dataclass(frozen=True)
class HeadEntry:
    """One head.

    Attributes:
        name: as users write it.
        title: as papers write it.
        task: what it is for.
        config: its class of configs; the defaults are the published values.
        count: its parts, of a config and the maps it takes.
        input_size: height and width at which its costs are published.
        pads: whether images are padded to whole positions of the deepest map, as published.
    """

    name: str
    title: str
    task: Task
    config: type[HeadConfig]
    count: Callable[[Any, Maps], list[HeadPart]]
    input_size: Size
    pads: bool


HEADS: dict[str, HeadEntry] = {
    entry.name: entry
    for entry in (
        HeadEntry(
            "mask-rcnn", "Mask R-CNN", "detect", MaskRCNNConfig, count_mask_rcnn, (800, 1280), True
        ),
        HeadEntry(
            "retinanet", "RetinaNet", "detect", RetinaNetConfig, count_retinanet, (800, 1280), True
        ),
        HeadEntry(
            "upernet", "UPerNet", "segment", UPerNetConfig, count_upernet, (512, 2048), False
        ),
    )
}
"""By name; the first of a task is its default."""

TASKS: tuple[Task, ...] = ("detect", "segment")


def find_head(task: str, head: str | None = None) -> HeadEntry:
    """The head of a task; its first one by default.

    Raises:
        UnknownName: no such task or head.
        ConfigError: the head is of another task.
    """
    if task not in TASKS:
        raise UnknownName("task", task, TASKS)
    known = [name for name, entry in HEADS.items() if entry.task == task]
    name = known[0] if head is None else head
    if name not in HEADS:
        raise UnknownName(f"head of {task}", name, known)
    if name not in known:
        raise ConfigError(
            f"--head: must be a head of {task}: {', '.join(known)} (got {name}). "
            f"It is of --task {HEADS[name].task}."
        )
    return HEADS[name]


@dataclass(frozen=True)
class PublishedCosts:
    """What a paper prints, as it prints it.

    Attributes:
        params_m: in millions.
        gflops: in 1e9 multiply-accumulates, attention products left out.
        source: where.
    """

    params_m: int
    gflops: int
    source: str = "SMT, ICCV 2023"


PUBLISHED_COSTS: dict[tuple[str, str], PublishedCosts] = {
    ("smt_s", "mask-rcnn"): PublishedCosts(40, 265),
    ("smt_b", "mask-rcnn"): PublishedCosts(52, 328),
    ("smt_s", "retinanet"): PublishedCosts(30, 247),
    ("smt_s", "upernet"): PublishedCosts(50, 935),
    ("smt_b", "upernet"): PublishedCosts(62, 1004),
}
"""By preset and head."""
