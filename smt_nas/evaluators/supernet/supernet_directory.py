"""The folder of a supernet: what its training leaves behind, valid at any moment.

RUN/
  supernet.yaml         what was asked for, versions, machine; written before anything else
  space.yaml            the space, as its YAML
  plan.yaml             how many steps it has; written once, before the first
  checkpoints/          what a next start goes on from
  supernet.safetensors  the weights whose networks are rated, once the training has ended
  losses.csv            losses along the steps
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field

from smt_nas.errors import ConfigError, StoreError
from smt_nas.evaluators.supernet.supernet_options import SupernetOptions
from smt_nas.files import check_same, write_atomic
from smt_nas.runtime.environment import read_environment
from smt_nas.space import SearchSpace
from smt_nas.space.space_config import SpaceConfig
from smt_nas.train.recipe import Recipe
from smt_nas.yaml import read_yaml, to_yaml, validated

_Model = TypeVar("_Model", bound=BaseModel)
FILE, SPACE, PLAN = "supernet.yaml", "space.yaml", "plan.yaml"
WEIGHTS, LOSSES = "supernet.safetensors", "losses.csv"


class SupernetFile(BaseModel):
    """What supernet.yaml holds.

    Attributes:
        settings: what was asked for.
        space_name: of the space.
        data_digest: of classes and training labels.
        processes: of the training.
        environment: of the first start.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = Field(alias="schema")
    settings: SupernetOptions
    space_name: str
    data_digest: str
    recipe: Recipe | None = None
    processes: int = 1
    environment: dict[str, Any] = {}


class SupernetPlan(BaseModel):
    """How long a training is.

    Attributes:
        steps: of the whole training.
        step_seconds: that a step took when it was planned; None where that was not measured.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(ge=1)
    step_seconds: float | None = None


def is_supernet(folder: Path) -> bool:
    """Whether a supernet lives in the folder, finished or not."""
    return (folder / FILE).is_file()


def read_supernet_file(folder: Path) -> SupernetFile:
    """What the supernet of a folder was asked for.

    Raises:
        StoreError: none is there, or its file is damaged.
    """
    file = folder / FILE
    if not file.is_file():
        raise StoreError(
            f"{folder}: holds no supernet (no {FILE}). Train one with `smt-nas supernet train "
            f"--space SPACE --data DATA --out {folder}`."
        )
    return _read(SupernetFile, file)


def read_space(folder: Path) -> SearchSpace:
    """The space of a folder's supernet, with the name it has. Raises StoreError."""
    config = _read(SpaceConfig, folder / SPACE)
    return SearchSpace(config, read_supernet_file(folder).space_name)


def read_plan(folder: Path) -> SupernetPlan | None:
    """How long its training is; None where it was not planned yet. Raises StoreError."""
    file = folder / PLAN
    return _read(SupernetPlan, file) if file.is_file() else None


def write_plan(folder: Path, plan: SupernetPlan) -> None:
    """Fix how long a training is. Raises StoreError."""
    write_atomic(folder / PLAN, to_yaml(plan.model_dump(mode="json", exclude_none=True)))


def open_directory(folder: Path, content: SupernetFile, space: SearchSpace, device: str) -> bool:
    """Write what the supernet of a folder is, or see that it is the same.

    Args:
        folder: new, empty, or that of this very supernet; the caller holds its lock.
        content: what is asked for.
        space: its space.
        device: for the record.

    Returns: whether it was there.

    Raises:
        StoreError: the folder holds something else, or cannot be written.
    """
    if is_supernet(folder):
        _check_same_supernet(folder, content, space)
        return True
    occupied = sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))
    if set(occupied) - {SPACE}:  # a start that was killed between two files leaves the space
        raise StoreError(
            f"{folder}: must be empty or new (got {occupied[0]}). Choose another --out."
        )
    stamp = read_environment(device) | {"torch_threads": torch.get_num_threads()}
    values = content.model_copy(update={"environment": stamp})
    write_atomic(folder / SPACE, to_yaml(space.config.model_dump(mode="json")))
    write_atomic(folder / FILE, to_yaml(values.model_dump(mode="json", by_alias=True)))
    return False


def _check_same_supernet(folder: Path, content: SupernetFile, space: SearchSpace) -> None:
    stored = read_supernet_file(folder)
    way_out = "Repeat it with those settings, or choose another --out."
    old, new = (_describe_settings(file) for file in (stored, content))
    old["space"] = new["space"] = ""  # by its content
    old["space digest"], new["space digest"] = read_space(folder).digest, space.digest
    check_same(folder, "holds a supernet", old, new, way_out)


def _describe_settings(file: SupernetFile) -> dict[str, Any]:
    settings = file.settings.model_dump(mode="json", exclude={"force"})
    values = {} if file.recipe is None else file.recipe.model_dump(mode="json")
    recipe = {f"recipe {name}": value for name, value in values.items()}
    return settings | recipe | {"data digest": file.data_digest, "processes": file.processes}


def _read(model: type[_Model], file: Path) -> _Model:
    try:
        return validated(model, read_yaml(file), str(file))
    except ConfigError as error:
        raise StoreError(f"{error} Restore that file, or train with another --out.") from error
