"""Checkpoints: all that a training goes on from, whole or not there at all.

RUN/checkpoints/update-0000123/
  model.safetensors    weights, with their card
  ema.safetensors      their moving average, where one is kept, with its card
  state.safetensors    optimizer, scaler, progress; and the card of the weights that are evaluated

Each is written into a hidden folder, fsynced, and renamed. Whoever saves holds the lock of RUN, so
a hidden folder that is found was left by a process that died.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from torch import Tensor

from smt_nas.errors import StoreError
from smt_nas.train.weights.card import Card, parse_card
from smt_nas.train.weights.tensors import (
    pack,
    read_metadata,
    read_tensors,
    sync_to_disk,
    unpack,
    write_tensors,
)

FOLDER = "checkpoints"
MODEL, EMA, STATE = "model.safetensors", "ema.safetensors", "state.safetensors"
STATE_KEY, _PARTS_KEY = "smt_nas.state", "smt_nas.parts"
_NEW, _OLD = ".new", ".old"  # folders on their way in and out
_Contents = dict[str, tuple[Mapping[str, Tensor], dict[str, str]]]
_NAME = re.compile(r"update-(\d+)(?:\.(\d+))?")  # the second number: saved again, see `_place`


class WeightsLabel(Protocol):
    """What files of weights say of themselves: a `Card`, or that of several networks' weights."""

    def for_weights(self, weights: Literal["model", "ema"]) -> WeightsLabel:
        """Of the other weights of the same moment."""

    def to_metadata(self) -> dict[str, str]:
        """As the metadata of a safetensors file."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk.

    Attributes:
        path: its folder.
        update: updates behind it.
    """

    path: Path
    update: int

    @property
    def card(self) -> Card:
        """The card of the weights that are evaluated: of the moving average where there is one."""
        file = self.path / STATE
        card = parse_card(read_metadata(file), file)
        if card is None:
            raise StoreError(
                f"{file}: is not of a checkpoint (it has no card). Remove {self.path}."
            )
        return card

    @property
    def eval_weights(self) -> Path:
        """The file of the weights that are evaluated."""
        return self.path / (EMA if self.card.weights == "ema" else MODEL)

    def load_weights(self) -> dict[str, Tensor]:
        """The network's weights. Raises StoreError."""
        return read_tensors(self.path / MODEL)[0]

    def load_ema(self) -> dict[str, Tensor] | None:
        """Their moving average; None where none was kept. Raises StoreError."""
        kept = EMA in read_metadata(self.path / STATE).get(_PARTS_KEY, "").split()
        return read_tensors(self.path / EMA)[0] if kept else None

    def load_state(self) -> dict[str, Any]:
        """What `save` was given. Raises StoreError."""
        file = self.path / STATE
        tensors, metadata = read_tensors(file)
        try:
            state: dict[str, Any] = unpack(tensors, metadata.get(STATE_KEY, ""))
        except ValueError as error:
            raise StoreError(
                f"{file}: must hold the state of a training (got: {error}). Remove {self.path} to "
                "go on from the checkpoint before."
            ) from error
        return state

    def check(self) -> None:
        """Look for what is missing or cut short, without reading tensors. Raises StoreError."""
        metadata = read_metadata(self.path / STATE)
        parts = metadata.get(_PARTS_KEY, "").split()
        if MODEL not in parts or STATE_KEY not in metadata:
            raise StoreError(f"{self.path / STATE}: is not of a checkpoint. Remove {self.path}.")
        for part in parts:
            read_metadata(self.path / part)


def save_checkpoint(
    run: Path,
    update: int,
    card: WeightsLabel,
    weights: Mapping[str, Tensor],
    ema: Mapping[str, Tensor] | None,
    state: dict[str, Any],
    keep: int,
) -> Checkpoint:
    """Write a checkpoint; then remove all but the last `keep`.

    A process that is killed leaves those before as they were, and at most a hidden folder.

    Args:
        run: the folder of the training; the caller holds its lock.
        update: updates made so far.
        card: of the weights that are evaluated.
        weights: of the network.
        ema: their moving average; None for none.
        state: nested plain values and tensors, see `tensors`.
        keep: checkpoints to keep, at least 1.

    Raises:
        StoreError: the disk is full, or the folder cannot be written; nothing is lost.
        TypeError: the state holds something that cannot be stored.
    """
    assert keep >= 1
    folder = run / FOLDER
    wanted = folder / f"update-{update:07d}"
    contents = _collect_contents(card, weights, ema, state)
    try:
        _write(folder, contents)
        saved = Checkpoint(_publish(folder / _NEW, wanted), update)
    except OSError as error:
        raise _unwritable_error(wanted, error) from error
    finally:
        shutil.rmtree(folder / _NEW, ignore_errors=True)
    _prune(folder, saved, keep)
    return saved


def find_latest(
    run: Path,
    say: Callable[[str], None],
    accept: Callable[[Checkpoint], bool] = lambda checkpoint: True,
) -> Checkpoint | None:
    """The newest checkpoint of a training that is whole; None where there is none.

    Args:
        run: the folder of the training.
        say: is told of each damaged one that is passed over, in a line.
        accept: which of the whole ones.
    """
    for checkpoint in reversed(_list_checkpoints(run / FOLDER)):
        try:
            checkpoint.check()
        except StoreError as error:
            say(f"{checkpoint.path} is passed over. {error}")
            continue
        if accept(checkpoint):
            return checkpoint
    return None


def save_weights(path: Path, card: WeightsLabel, weights: Mapping[str, Tensor]) -> None:
    """Replace a file of weights: the old or the new one is there, whenever the process dies.

    Raises:
        StoreError: the disk is full, or the folder cannot be written; the old file is kept.
    """
    temporary = path.with_name(f".{path.name}{_NEW}")
    shutil.rmtree(temporary, ignore_errors=True)  # left by a process that was killed
    try:
        temporary.mkdir()
        write_tensors(temporary / path.name, weights, card.to_metadata())
        os.replace(temporary / path.name, path)
        sync_to_disk(path.parent)
    except OSError as error:
        raise _unwritable_error(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _collect_contents(
    card: WeightsLabel,
    weights: Mapping[str, Tensor],
    ema: Mapping[str, Tensor] | None,
    state: dict[str, Any],
) -> _Contents:
    """Tensors and metadata of each file."""
    tensors, text = pack(state)
    contents = {MODEL: (weights, card.for_weights("model").to_metadata())}
    if ema is not None:
        contents[EMA] = (ema, card.for_weights("ema").to_metadata())
    parts = {STATE_KEY: text, _PARTS_KEY: " ".join(contents)}
    return {**contents, STATE: (tensors, card.to_metadata() | parts)}


def _write(folder: Path, contents: _Contents) -> None:
    """Write the files of a checkpoint into a hidden folder, after those left by dead processes."""
    for leftover in (_NEW, _OLD):
        shutil.rmtree(folder / leftover, ignore_errors=True)
    (folder / _NEW).mkdir(parents=True)
    for name, (tensors, metadata) in contents.items():
        write_tensors(folder / _NEW / name, tensors, metadata)
    sync_to_disk(folder / _NEW)


def _publish(new: Path, wanted: Path) -> Path:
    """Rename a finished folder to what it is to be called, and return what it is called.

    A folder cannot be renamed onto another. Where this update was saved before, the new one first
    stands beside it, so that there is a whole one at every moment.
    """
    if not wanted.exists():
        os.rename(new, wanted)
        sync_to_disk(wanted.parent)
        return wanted
    number = 1
    while (beside := wanted.with_name(f"{wanted.name}.{number}")).exists():
        number += 1
    os.rename(new, beside)
    sync_to_disk(wanted.parent)
    try:
        _remove(wanted)
        os.rename(beside, wanted)
    except OSError:  # it is saved, only not under its plain name
        return beside
    return wanted


def _remove(path: Path) -> None:
    """Remove a checkpoint: out of sight at once, so that half of one is never seen."""
    hidden = path.with_name(_OLD)
    os.rename(path, hidden)
    shutil.rmtree(hidden, ignore_errors=True)


def _prune(folder: Path, saved: Checkpoint, keep: int) -> None:
    """Remove what `saved` replaces, older ones beyond `keep`, and later ones that are damaged."""
    others = [c for c in _list_checkpoints(folder) if c.path != saved.path]
    gone = [c for c in others if c.update == saved.update]
    gone += [c for c in others if c.update > saved.update and not _is_whole(c)]
    older = [c for c in others if c.update < saved.update]
    gone += older[: max(0, len(older) - (keep - 1))]
    for checkpoint in gone:
        with contextlib.suppress(OSError):  # the new one is saved; this one costs space alone
            _remove(checkpoint.path)


def _is_whole(checkpoint: Checkpoint) -> bool:
    try:
        checkpoint.check()
    except StoreError:
        return False
    return True


def _list_checkpoints(folder: Path) -> list[Checkpoint]:
    """The checkpoints of a folder, oldest first."""
    named = [(_NAME.fullmatch(p.name), p) for p in folder.glob("update-*")]
    rows = [(int(m[1]), int(m[2] or 0), p) for m, p in named if m is not None]
    return [Checkpoint(path, update) for update, _, path in sorted(rows)]


def _unwritable_error(path: Path, error: OSError) -> StoreError:
    return StoreError(
        f"{path}: cannot be written ({error.strerror or error}). Free some space or mend the "
        "folder, then repeat the command (smt-nas train: with --resume auto); what was saved "
        "before is kept."
    )
