"""The folder of a training: what it leaves behind, valid at any moment.

RUN/
  train.yaml            what was asked for, versions, machine; written before anything else
  arch.yaml             the network, as a model config
  checkpoints/          what `--resume auto` goes on from
  best.safetensors      weights of the best epoch so far, by the validation split
  metrics.csv           one row an epoch
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field

from smt_nas.errors import ConfigError, StoreError
from smt_nas.files import locked, make_folder, write_atomic
from smt_nas.runtime.environment import read_environment
from smt_nas.train.data.sources import shorten_spec
from smt_nas.train.recipe import Recipe
from smt_nas.train.train_config import TrainConfig
from smt_nas.yaml import read_yaml, to_yaml, validated

FILE = "train.yaml"
_ANOTHER = "Choose another --out."


class _TrainingFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = Field(alias="schema")
    settings: TrainConfig
    environment: dict[str, Any]


def find_free_folder(name: str, data: str) -> Path:
    """`runs/train-NETWORK-DATA`, numbered if taken."""
    words = ["train", Path(name).stem, shorten_spec(data)]
    plain = "-".join("".join(c if c.isalnum() or c in "._" else "_" for c in w) for w in words)
    number = 1
    while (path := Path("runs") / (plain if number == 1 else f"{plain}-{number}")).exists():
        number += 1
    return path


def is_training_directory(path: Path) -> bool:
    """Whether a training lives in the folder."""
    return (path / FILE).is_file()


def read_config(path: Path) -> TrainConfig:
    """What the training in a folder was asked for.

    Raises:
        StoreError: no training is there, or its file is damaged.
    """
    file = path / FILE
    if not file.is_file():
        raise StoreError(
            f"{path}: holds no training (no {FILE}). Start one with `smt-nas train ARCH --data "
            f"DATA --out {path}`."
        )
    try:
        return validated(_TrainingFile, read_yaml(file), str(file)).settings
    except ConfigError as error:
        raise StoreError(f"{error} Restore that file, or train with another --out.") from error


def contains_training(path: Path, config: TrainConfig, resume: bool) -> bool:
    """Whether the folder holds this training already; nothing is written.

    Args:
        path: the folder; new, empty, or with `resume` that of the same training.
        config: what is asked for.
        resume: go on where the folder holds this very training.

    Returns: whether it was there.

    Raises:
        StoreError: it holds something else.
    """
    if is_training_directory(path):
        _check_same_training(path, read_config(path), config, resume)
        return True
    try:
        names = [p.name for p in path.iterdir()] if path.exists() else []
    except OSError as error:
        raise StoreError(
            f"{path}: must be a folder of yours ({error.strerror}). Choose another --out."
        ) from error
    occupied = sorted(name for name in names if not name.startswith("."))
    if occupied:
        raise StoreError(f"{path}: must be empty or new (got {occupied[0]}). Choose another --out.")
    return False


def create_directory(path: Path, config: TrainConfig, device: str) -> None:
    """Write what the training of a folder is; `device` says where, for the record.

    Raises:
        StoreError: it cannot be written.
    """
    content = {
        "schema": 1,
        "settings": config.model_dump(mode="json"),
        "environment": read_environment(device) | {"torch_threads": torch.get_num_threads()},
    }
    write_atomic(path / FILE, to_yaml(content))
    config.arch.save(path / "arch.yaml")


@contextlib.contextmanager
def lock_directory(path: Path) -> Iterator[None]:
    """Hold the folder for writing; it is made, and removed where nothing began in it.

    So are the folders above that were made for it.

    Raises:
        StoreError: another process holds it, or it cannot be made or written.
    """
    above = [folder for folder in path.parents if not folder.exists()]
    make_folder(path, _ANOTHER)
    with locked(path, _ANOTHER):
        try:
            yield
        finally:
            if [p.name for p in path.iterdir()] == [".lock"]:
                with contextlib.suppress(OSError):
                    (path / ".lock").unlink()
                    for folder in (path, *above):
                        folder.rmdir()


def _check_same_training(
    path: Path, stored: TrainConfig, requested: TrainConfig, resume: bool
) -> None:
    if stored.images_per_update == requested.images_per_update:
        # the same images make up an update, whoever computes them
        stored = stored.model_copy(
            update={"processes": requested.processes, "recipe": _divide_as(stored, requested)}
        )
    if (stored.arch.key, stored.arch.drop_path) == (requested.arch.key, requested.arch.drop_path):
        stored = stored.model_copy(update={"arch": requested.arch})  # the rest has no effect
    old, new = (s.model_dump(mode="json") for s in (stored, requested))
    if old == new:
        if resume:
            return
        raise StoreError(
            f"{path}: holds this very training already. Go on with --resume auto, or choose "
            "another --out."
        )
    field, before, after = next(_find_differences(old, new))
    raise StoreError(
        f"{path}: holds a training with {field} {before} (got {after}). Repeat it with those "
        "settings and --resume auto, or choose another --out."
    )


def _divide_as(stored: TrainConfig, requested: TrainConfig) -> Recipe:
    """The recipe with an update's images divided as is asked now."""
    names = ("batch_size", "accumulation")
    return stored.recipe.model_copy(update={n: getattr(requested.recipe, n) for n in names})


def _find_differences(old: dict[str, Any], new: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Fields that differ, by their full name."""
    for name, value in old.items():
        other = new.get(name)
        if isinstance(value, dict) and isinstance(other, dict):
            for inner, a, b in _find_differences(value, other):
                yield f"{name}.{inner}", a, b
        elif value != other:
            yield name, value, other
