"""One training, many lengths: a shorter one goes on from where its rate would begin to fall.

Until then trainings at a constant rate are the same. So the longest, the trunk, stops there for a
moment, its checkpoint is copied into the folder of the shorter one, the branch, and each goes on as
any training does that was stopped: to the weights that it would have had alone.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from smt_nas.errors import StoreError
from smt_nas.files import write_atomic
from smt_nas.train.data.batches.sampler import BatchSampler
from smt_nas.train.training_directory import FILE, lock_directory, read_config
from smt_nas.train.weights.checkpoint import FOLDER, Checkpoint, find_latest
from smt_nas.train.weights.tensors import sync_to_disk
from smt_nas.train.weights.weights import BEST
from smt_nas.yaml import read_yaml, to_yaml


def branch_training(trunk: Path, branch: Path, epochs: int) -> bool:
    """Make the folder of a training that goes on from the last checkpoint of another.

    Args:
        trunk: the folder of a training at a constant rate, which nobody trains just now.
        branch: the folder, not there yet; it is whole or not there.
        epochs: of the branch.

    Returns: whether the trunk stands where the rate of the branch begins to fall; else nothing is
        written, and the branch has to be trained from its beginning.

    Raises:
        StoreError: the disk is full, or the trunk is in use or damaged.
    """
    with lock_directory(trunk):
        checkpoint = find_latest(trunk, lambda line: None)
        if checkpoint is None or not _is_at_fall(trunk, checkpoint, epochs):
            return False
        new = branch.with_name(f".{branch.name}.new")
        try:
            shutil.rmtree(new, ignore_errors=True)  # left by a process that was killed
            _copy(trunk, checkpoint, new, epochs)
            os.rename(new, branch)
            sync_to_disk(branch.parent)
        except OSError as error:
            raise StoreError(
                f"{branch}: cannot be written ({error.strerror or error}). Free some space and go "
                "on: what was trained is kept."
            ) from error
        finally:
            shutil.rmtree(new, ignore_errors=True)
        return True


def _is_at_fall(trunk: Path, checkpoint: Checkpoint, epochs: int) -> bool:
    config = read_config(trunk)
    recipe, images = config.recipe, checkpoint.load_state()["images"]
    sampler = BatchSampler(
        images, recipe.batch_size, config.processes, recipe.accumulation, config.seed
    )
    fall = recipe.with_epochs(epochs).find_fall(sampler.updates_per_epoch)
    return recipe.schedule == "constant" and checkpoint.update == fall


def _copy(trunk: Path, checkpoint: Checkpoint, new: Path, epochs: int) -> None:
    """All that a training goes on from, and what it is, but for its epochs."""
    kept = new / FOLDER / checkpoint.path.name
    shutil.copytree(checkpoint.path, kept)
    shutil.copy(trunk / "arch.yaml", new)
    if (trunk / BEST).is_file():
        shutil.copy(trunk / BEST, new)
    for copied in (*kept.iterdir(), *(p for p in new.iterdir() if p.is_file())):
        sync_to_disk(copied)
    content = read_yaml(trunk / FILE)
    content["settings"]["recipe"]["epochs"] = epochs
    write_atomic(new / FILE, to_yaml(content))
