"""Reading what torch.save wrote, as far as it is plain data; nothing in a file is ever run."""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from argparse import Namespace
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from smt_nas.errors import StoreError

_DICTS = (
    "yacs.config.CfgNode",
    "easydict.EasyDict",
    "lightning.fabric.utilities.data.AttributeDict",
    "lightning_fabric.utilities.data.AttributeDict",
    "pytorch_lightning.utilities.parsing.AttributeDict",
)
"""Kinds of dict that trainers keep their settings in, beside the weights; read as plain ones."""

_SETTINGS: tuple[tuple[Callable[..., Any], str], ...] = (
    *((OrderedDict, name) for name in _DICTS),
    (Namespace, "argparse.Namespace"),
    (SimpleNamespace, "types.SimpleNamespace"),
    (PurePosixPath, "pathlib.PosixPath"),
    (PurePosixPath, "pathlib._local.PosixPath"),  # since Python 3.13
)
"""Values beside weights whose making does nothing but hold them, by the name in the file."""


def read_torch_file(file: Path) -> Mapping[Any, Any]:
    """What a file of torch.save holds.

    Raises:
        StoreError: it cannot be read, is damaged, would run code, or holds no mapping.
    """
    try:
        allowed = torch.serialization.safe_globals([*_SETTINGS, *_list_numpy_scalars()])
        with warnings.catch_warnings(), allowed:
            warnings.simplefilter("ignore")  # what they tell of ends in an error anyway
            content = torch.load(
                file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file)
            )
    except OSError as error:
        raise unreadable_error(file, error) from error
    except Exception as error:  # a reader of foreign bytes raises anything
        raise _refusal(file, error) from error
    if not isinstance(content, Mapping):
        raise StoreError(
            f"{file}: must hold tensors by name (got a {type(content).__name__}). Save the "
            "network's state_dict()."
        )
    return content


def _list_numpy_scalars() -> list[tuple[Callable[..., Any], str]]:
    """What a NumPy number is made by, such as a best accuracy, under its names old and new."""
    scalar: Any = np.float64(0).__reduce__()[0]
    kinds = [type(np.dtype(kind)) for kind in "efd?bhilqBHILQ"]
    makers = [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    return [*makers, (np.dtype, "numpy.dtype"), *((k, f"numpy.dtypes.{k.__name__}") for k in kinds)]


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


def unreadable_error(path: Path, error: OSError) -> StoreError:
    """The system's reason why a file cannot be read, in one line."""
    return StoreError(f"{path}: cannot be read ({error.strerror or error}). Check the path.")
