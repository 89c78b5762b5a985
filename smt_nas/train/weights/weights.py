"""Reading weights, whoever wrote them: a training of ours, or the published code."""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from smt_nas.errors import StoreError, list_names
from smt_nas.models import SMT, build, from_official, is_official
from smt_nas.train.weights.card import Card, parse_card
from smt_nas.train.weights.checkpoint import MODEL, STATE, STATE_KEY, Checkpoint, find_latest
from smt_nas.train.weights.tensors import read_metadata, read_tensors

BEST = "best.safetensors"
_MOST_NAMES = 4  # listed of many
_OURS = "stages.0.embed.conv1.weight"  # every network of ours has it
_PREFIXES = ("module.", "_orig_mod.")  # put before every name by DDP and torch.compile
_CONFIG = "yacs.config.CfgNode"
"""A dict that the published code keeps beside its weights; read as a plain one."""


@dataclass(frozen=True)
class LoadedWeights:
    """Weights that were read.

    Attributes:
        card: what they say of themselves; None for weights without one.
        state: tensors by our names, on the CPU.
        source: the file they are from.
        official: whether the published code wrote them.
        unknown: names in the file that have none of ours.
    """

    card: Card | None
    state: dict[str, Tensor]
    source: Path
    official: bool
    unknown: tuple[str, ...] = ()


def read_weights(path: Path) -> LoadedWeights:
    """Read weights.

    Args:
        path: a .safetensors file of ours; the folder of a checkpoint (the weights that were
            evaluated: the moving average where one was kept); the folder of a training (its best
            weights, else its last checkpoint); a .pth of the published code, bare or as released,
            or of ours. No code in a file is run.

    Raises:
        StoreError: it is missing, damaged, or holds no weights of an SMT.
    """
    file = _find_file(path)
    if not _is_safetensors(file):
        return _to_loaded(_strip_prefixes(_read_torch(file)), None, file)
    tensors, metadata = read_tensors(file)
    _check_kind(file, metadata)
    return _to_loaded(_strip_prefixes(tensors), parse_card(metadata, file), file)


def read_card(path: Path) -> Card | None:
    """The card of what `read_weights` reads from a path, without reading tensors.

    Returns: None where there is none, as in every .pth.

    Raises:
        StoreError: it is missing or damaged.
    """
    file = _find_file(path)
    if not _is_safetensors(file):
        return None
    metadata = read_metadata(file)
    _check_kind(file, metadata)
    return parse_card(metadata, file)


def build_network(loaded: LoadedWeights) -> SMT:
    """The network that weights are of, in eval mode. No random numbers are drawn.

    Raises:
        StoreError: they do not say which network it is, or are not all there.
    """
    if loaded.card is None:
        raise StoreError(
            f"{loaded.source}: must say which network it is of (got weights without a card). Name "
            "a checkpoint of `smt-nas train`; as --init of one, these can be trained on."
        )
    model = build(loaded.card.arch, device="meta")
    different = describe_differences(model.state_dict(), loaded.state)
    if different:
        raise StoreError(
            f"{loaded.source}: must hold the weights of its network, {loaded.card.arch.key} (got "
            f"{different}). Restore it from a copy."
        )
    model.load_state_dict(loaded.state, assign=True)
    return model.eval()


def describe_differences(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> str:
    """How weights differ from those of a network, in names and shapes; empty where they do not."""
    kinds = {
        "missing": [k for k in own if k not in given],
        "unexpected": [k for k in given if k not in own],
        "of another shape": list_misshapen(own, given),
    }
    return "; ".join(f"{len(v)} {kind}: {list_tensors(v)}" for kind, v in kinds.items() if v)


def list_misshapen(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> list[str]:
    """`head.bias is (10,), not (5,)`, of each tensor of another shape than the network's."""
    return [
        f"{k} is {tuple(given[k].shape)}, not {tuple(v.shape)}"
        for k, v in own.items()
        if k in given and given[k].shape != v.shape
    ]


def list_tensors(names: Sequence[str]) -> str:
    """The first few of many names of tensors, and how many more."""
    return list_names(names, _MOST_NAMES)


def _find_file(path: Path) -> Path:
    """The file that a path stands for."""
    try:
        if path.is_file():
            return path
        if not path.exists():
            raise StoreError(
                f"{path}: must be weights, a checkpoint or the folder of a training (got no such "
                "file). Check the path."
            )
        if (path / STATE).is_file():
            return Checkpoint(path, 0).eval_weights
        for name in (BEST, MODEL):
            if (path / name).is_file():
                return path / name
    except OSError as error:
        raise _unreadable_error(path, error) from error
    passed: list[str] = []
    checkpoint = find_latest(path, passed.append)
    if checkpoint is not None:
        return checkpoint.eval_weights
    reason = " ".join(passed) or f"neither {BEST} nor a checkpoint is in it"
    raise StoreError(
        f"{path}: must be a checkpoint or the folder of a training (got one without weights: "
        f"{reason}). Name another."
    )


def _is_safetensors(file: Path) -> bool:
    """By what it begins with: the length of a header, and the header, which is JSON."""
    try:
        with file.open("rb") as opened:
            start = opened.read(9)
    except OSError as error:
        raise _unreadable_error(file, error) from error
    if not start:
        raise StoreError(f"{file}: must hold weights (got an empty file). Restore it from a copy.")
    return file.suffix == ".safetensors" or start[8:] == b"{"


def _check_kind(file: Path, metadata: Mapping[str, str]) -> None:
    if STATE_KEY in metadata:
        raise StoreError(
            f"{file}: must hold weights (got the state of an optimizer). Name its folder, or "
            f"{MODEL} in it."
        )


def _read_torch(file: Path) -> Mapping[str, Any]:
    """What torch.save wrote, as far as it is plain data."""
    try:
        allowed = torch.serialization.safe_globals([(OrderedDict, _CONFIG)])
        with warnings.catch_warnings(), allowed:
            warnings.simplefilter("ignore")  # what they tell of ends in an error anyway
            content = torch.load(
                file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file)
            )
    except OSError as error:
        raise _unreadable_error(file, error) from error
    except Exception as error:  # a reader of foreign bytes raises anything
        raise _refusal(file, error) from error
    if not isinstance(content, Mapping):
        raise StoreError(
            f"{file}: must hold tensors by name (got a {type(content).__name__}). Save the "
            "network's state_dict()."
        )
    for key in ("model", "state_dict"):
        if isinstance(content.get(key), Mapping):
            inner: Mapping[str, Any] = content[key]
            return inner
    return content


def _refusal(file: Path, error: Exception) -> StoreError:
    code = re.search(r"GLOBAL (\S+)", str(error))
    if isinstance(error, pickle.UnpicklingError) and code is not None:
        return StoreError(
            f"{file}: must hold tensors alone (got {code[1]}, which would run code). Where you "
            "trust it, load it in Python and save its state_dict() with torch.save."
        )
    if "TorchScript" in str(error):
        return StoreError(
            f"{file}: must hold tensors by name (got a TorchScript program). Save the state_dict() "
            "of its network."
        )
    reason = "one that is cut short" if "zip archive" in str(error) else "other bytes"
    return StoreError(
        f"{file}: must be a whole file of torch.save or safetensors (got {reason}). It is damaged "
        "or of another kind: restore it from a copy, or name another."
    )


def _strip_prefixes(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Without what DDP and torch.compile put before every name."""
    plain = {str(key): value for key, value in tensors.items()}
    for prefix in _PREFIXES:
        if plain and all(key.startswith(prefix) for key in plain):
            plain = {key.removeprefix(prefix): value for key, value in plain.items()}
    return plain


def _to_loaded(tensors: dict[str, Any], card: Card | None, file: Path) -> LoadedWeights:
    if is_official(tensors):
        state, unknown = from_official(tensors)
        return LoadedWeights(card, state, file, True, tuple(unknown))
    if _OURS not in tensors:
        raise StoreError(
            f"{file}: must hold weights of an SMT (got "
            f"{list_tensors(list(tensors)) or 'nothing'}). Name a checkpoint of `smt-nas "
            "train` or of the published code."
        )
    # a copy: torch.load leaves them in the file
    state = {k: v.detach().clone() for k, v in tensors.items() if isinstance(v, Tensor)}
    return LoadedWeights(card, state, file, False, tuple(k for k in tensors if k not in state))


def _unreadable_error(path: Path, error: OSError) -> StoreError:
    return StoreError(f"{path}: cannot be read ({error.strerror or error}). Check the path.")
