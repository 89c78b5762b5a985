"""`--task`, `--head`, `--input`: which whole model is meant, on images of which size."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from smt_nas.costs.heads import HeadEntry

Task = Annotated[
    str | None,
    typer.Option(
        help="detect or segment: the network as the backbone of a head; params and MACs of the "
        "whole by formula, beside the published ones."
    ),
]
Head = Annotated[
    str | None,
    typer.Option(
        help="With --task: mask-rcnn or retinanet; upernet. Default: the first of a task."
    ),
]
Input = Annotated[
    str | None,
    typer.Option(
        "--input",
        help="With --task: height x width, e.g. 800x1333. Default: as published.",
    ),
]


def read_head(task: str | None, head: str | None, size: str | None) -> HeadEntry | None:
    """The head that is meant; None without a task.

    Raises:
        ConfigError: no such task or head, or options of a task without one.
    """
    from smt_nas.costs.heads import find_head
    from smt_nas.errors import ConfigError

    if task is not None:
        return find_head(task, head)
    for option, value in (("--head", head), ("--input", size)):
        if value is not None:
            raise ConfigError(
                f"{option}: must stand beside --task (got {value} alone). Add --task detect or "
                "--task segment."
            )
    return None


def read_input(size: str | None) -> tuple[int, int] | None:
    """Height and width in pixels. Raises ConfigError."""
    from smt_nas.errors import ConfigError

    if size is None:
        return None
    match = re.fullmatch(r"(\d{1,6})[xX](\d{1,6})", size.strip())
    if match is None:
        raise ConfigError(
            f"--input: must be height x width in pixels (got {size!r}). Write e.g. 800x1280."
        )
    return int(match[1]), int(match[2])
