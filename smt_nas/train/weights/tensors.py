"""States and weights on disk, as safetensors: no pickles, so nothing in a file is ever run.

A state (dicts with text and integer keys, lists, tuples, None, numbers, texts, bools, tensors) is
taken apart into named tensors and a JSON text, which stands in the metadata of the file:

    None, bool, int, text, finite float, list    as JSON has them
    {"dict": [[key, value], ...]}                 in order; integer keys stay integers
    {"tuple": [...]}
    {"float": "nan"}                              nan, inf, -inf
    {"tensor": name, "strides": [...]}            strides where the axes are in another order
"""

from __future__ import annotations

import errno
import importlib
import json
import math
import os
import re
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from smt_nas.errors import StoreError

_DTYPES = frozenset(
    {
        torch.float64,
        torch.float32,
        torch.float16,
        torch.bfloat16,
        torch.int64,
        torch.int32,
        torch.int16,
        torch.int8,
        torch.uint8,
        torch.bool,
    }
)


def pack(state: Any) -> tuple[dict[str, Tensor], str]:
    """Take a state apart.

    A tensor that stands in several places is kept once. Tensors are not copied.

    Returns: tensors by name, and the JSON text that `unpack` builds the state from.

    Raises:
        TypeError: something in it is none of the kinds above; says where it stands.
    """
    packer = _Packer()
    text = json.dumps(packer.value(state, ""), separators=(",", ":"), allow_nan=False)
    return packer.tensors, text


def unpack(tensors: Mapping[str, Tensor], text: str) -> Any:
    """Build the state that `pack` took apart.

    Raises:
        ValueError: the text is not one of `pack`'s, or a tensor is missing.
    """
    restored: dict[str, Tensor] = {}

    def build(packed: Any) -> Any:
        if isinstance(packed, list):
            return [build(v) for v in packed]
        if not isinstance(packed, dict):
            return packed
        if "tensor" in packed:
            name = packed["tensor"]
            if name not in restored:
                restored[name] = _restore_layout(tensors[name], packed.get("strides"))
            return restored[name]
        ((kind, content),) = packed.items()
        if kind == "dict":
            return {key: build(v) for key, v in content}
        if kind == "tuple":
            return tuple(build(v) for v in content)
        if kind == "float":
            return float(content)
        raise ValueError(f"unknown kind {kind!r}")

    try:
        return build(json.loads(text))
    except (KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise ValueError(f"not a state: {error}") from error


class _Packer:
    """Walks a state; collects its tensors."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self._names: dict[Hashable, str] = {}

    def value(self, value: Any, path: str) -> Any:
        """One value in JSON's terms."""
        kind = type(value)  # exactly: a subclass would come back as something else
        if value is None or kind in (bool, int, str):
            return value
        if kind is float:
            return value if math.isfinite(value) else {"float": repr(value)}
        if kind is list:
            return [self.value(v, f"{path}[{i}]") for i, v in enumerate(value)]
        if kind is tuple:
            return {"tuple": [self.value(v, f"{path}[{i}]") for i, v in enumerate(value)]}
        if kind in (dict, OrderedDict):
            return {
                "dict": [[_key(k, path), self.value(v, f"{path}.{k}")] for k, v in value.items()]
            }
        if kind in (Tensor, nn.Parameter):
            return self._tensor(value, path)
        raise TypeError(f"state{path}: cannot be stored (got a {kind.__name__}). Make it plain.")

    def _tensor(self, tensor: Tensor, path: str) -> dict[str, Any]:
        plain = tensor.layout is torch.strided and tensor.device.type != "meta"
        if not plain or tensor.dtype not in _DTYPES:
            got = f"{tensor.layout}, {tensor.dtype}, on {tensor.device}"
            raise TypeError(f"state{path}: this tensor cannot be stored (got {got}).")
        place = _memory_key(tensor)
        if place not in self._names:
            self._names[place] = f"{len(self.tensors)}:{path.lstrip('.')}"
            self.tensors[self._names[place]] = tensor.detach()
        strides = _strides(tensor)
        return {"tensor": self._names[place]} | ({} if strides is None else {"strides": strides})


def _key(key: Any, path: str) -> Any:
    if type(key) not in (str, int):
        raise TypeError(f"state{path}: a key must be a text or an integer (got {key!r}).")
    return key


def _memory_key(tensor: Tensor) -> Hashable:
    """Equal for tensors that show the same memory in the same way."""
    if not tensor.numel():
        return id(tensor)
    memory = tensor.untyped_storage().data_ptr()
    layout = (tuple(tensor.shape), tensor.stride(), tensor.storage_offset())
    return (memory, *layout, tensor.dtype, str(tensor.device))


def _strides(tensor: Tensor) -> list[int] | None:
    """Strides of a tensor that fills its memory in another order than that of its axes.

    They are put back, as operators on tensors laid out differently may round differently.
    """
    if tensor.dim() < 2:
        return None
    dense = torch.empty_like(tensor, device="meta").stride()  # drops gaps, keeps the order
    usual = torch.empty(tensor.shape, device="meta").stride()
    return None if dense == usual else list(dense)


def _restore_layout(tensor: Tensor, strides: list[int] | None) -> Tensor:
    if strides is None:
        return tensor
    return torch.empty_strided(tensor.shape, strides, dtype=tensor.dtype).copy_(tensor)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a file, and wait until the disk has it.

    A process that is killed may leave a part of it, or a hidden file beside it.

    Raises:
        OSError: the disk is full, the folder cannot be written.
        StoreError: safetensors is not installed.
    """
    library = _import_safetensors()
    try:
        library.torch.save_file(_separate_memory(tensors), str(path), metadata=dict(metadata))
    except library.SafetensorError as error:  # it words the system's errors itself
        named = re.search(r"os error (\d+)", str(error))
        number = int(named[1]) if named else errno.EIO
        raise OSError(number, os.strerror(number) if named else str(error)) from error
    path.chmod(0o644)  # newer releases make it 0600; results are for colleagues too
    sync_to_disk(path)


def sync_to_disk(path: Path) -> None:
    """Wait until the disk has a file, or the names in a folder. Raises OSError."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a file.

    Returns: tensors in memory of their own, on the CPU; metadata.

    Raises:
        StoreError: it is not there, not whole, or no safetensors file.
    """
    library = _import_safetensors()
    try:
        with library.safe_open(str(path), framework="pt") as file:
            # a copy is aligned as torch aligns memory, which sums of floats may depend on; and
            # it does not hold on to a file that may be removed
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
            return tensors, dict(file.metadata() or {})
    except (OSError, ValueError, KeyError, library.SafetensorError) as error:
        raise _unreadable_error(path, error) from error


def read_metadata(path: Path) -> dict[str, str]:
    """Read the metadata alone; the header is checked against the length of the file.

    Raises:
        StoreError: as `read`.
    """
    library = _import_safetensors()
    try:
        with library.safe_open(str(path), framework="pt") as file:
            return dict(file.metadata() or {})
    except (OSError, ValueError, KeyError, library.SafetensorError) as error:
        raise _unreadable_error(path, error) from error


def _separate_memory(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """On the CPU, contiguous, no two in the same memory: what safetensors takes."""
    taken: set[int] = set()
    separate: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        plain = tensor.detach().to("cpu").contiguous()
        if plain.untyped_storage().data_ptr() in taken:
            plain = plain.clone()
        taken.add(plain.untyped_storage().data_ptr())
        separate[name] = plain
    return separate


def _import_safetensors() -> Any:
    """safetensors with its part for torch: an extra, so imported where it is needed."""
    try:
        importlib.import_module("safetensors.torch")
        return importlib.import_module("safetensors")
    except ImportError as error:
        raise StoreError(
            "safetensors: must be installed for this (got none). `pip install 'smt-nas[train]'`."
        ) from error


def _unreadable_error(path: Path, error: Exception) -> StoreError:
    if isinstance(error, FileNotFoundError):
        return StoreError(f"{path}: is missing. Check the path, or restore it from a copy.")
    text = str(getattr(error, "strerror", None) or error)
    reason = " ".join(text.removeprefix("Error while deserializing header: ").split())[:200]
    return StoreError(
        f"{path}: must be a whole safetensors file (got: {reason}). It is damaged or of another "
        "kind: restore it from a copy, or name another."
    )
