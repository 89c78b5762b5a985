"""Weights of the published code, into this network and back.

Both hold the same numbers, under other names and in other groupings: the published network keeps
q apart from k|v and s apart from v, and has 1x1 convolutions where linear layers stand here.
`_EMBED`, `_BLOCK` and `_shape` are the whole mapping; the rest walks it. It is by name alone, so
every network of the family has an official form: kernel sizes other than 3, 5, 7, 9 too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from smt_nas.errors import ConfigError
from smt_nas.models.smt import SMT

_SHOWN = 4  # keys listed per kind of mismatch

_EMBED = {"conv1": "conv.0", "bn": "conv.1", "conv2": "conv.3", "conv": "proj", "norm": "norm"}
"""Inside a stem or a downsampling: our module, theirs."""

_BLOCK: dict[str, tuple[tuple[str, int], ...]] = {
    "norm1": (("norm1", 1),),
    "norm2": (("norm2", 1),),
    "scale1": (("gamma_1", 1),),
    "scale2": (("gamma_2", 1),),
    "mixer.sv": (("attn.s", 1), ("attn.v", 1)),
    "mixer.aggregate": (("attn.proj0", 1),),
    "mixer.bn": (("attn.bn", 1),),
    "mixer.modulate": (("attn.proj1", 1),),
    "mixer.qkv": (("attn.q", 1), ("attn.kv", 2)),
    "mixer.local": (("attn.local_conv", 1),),
    "mixer.proj": (("attn.proj", 1),),
    "ffn.fc1": (("mlp.fc1", 1),),
    "ffn.dwconv": (("mlp.dwconv.dwconv", 1),),
    "ffn.fc2": (("mlp.fc2", 1),),
}
"""Inside a block: our module, theirs, each with its share of our rows."""


def to_official(model: SMT) -> dict[str, Tensor]:
    """The state of `model` as the published code names and shapes it.

    Returns: copies, detached, on the model's device. Without a head for a features-only network.
    """
    return {
        name: part.detach().clone()
        for key, value in model.state_dict().items()
        for name, part in _parts(key, value)
    }


def load_official(model: SMT, state_dict: Mapping[str, Any]) -> None:
    """Load a state of the published code, strictly; also as released, under the key `model`.

    A features-only network takes no head, so `head.*` is then passed over.

    Raises:
        ConfigError: a key is missing, is not known, or has another shape. Lists them; the model is
            left as it was.
    """
    wrapped = state_dict.get("model")
    given = dict(wrapped if isinstance(wrapped, Mapping) else state_dict)
    if model.features_only:
        given = {k: v for k, v in given.items() if not k.startswith("head.")}
    own = model.state_dict()
    wanted = {key: _parts(key, value) for key, value in own.items()}
    _check({name: part for parts in wanted.values() for name, part in parts}, given)
    loaded = {
        key: torch.cat([given[name].reshape(-1) for name, _ in parts]).reshape(own[key].shape)
        for key, parts in wanted.items()
    }
    model.load_state_dict(loaded)


def _parts(key: str, value: Tensor) -> list[tuple[str, Tensor]]:
    """One of our tensors as the official ones it holds: name and view."""
    path, _, leaf = key.rpartition(".")
    modules = _modules(path)
    total = sum(share for _, share in modules)
    if total == 1:
        return [(_join(modules[0][0], leaf), value.reshape(_shape(path, value)))]
    rows = value.shape[0] // total
    pieces = torch.split(value, [rows * share for _, share in modules])
    return [(_join(name, leaf), piece) for (name, _), piece in zip(modules, pieces, strict=True)]


def _join(name: str, leaf: str) -> str:
    """`norm1.weight`; but a layer scale is a bare parameter there: `gamma_1`."""
    return name if leaf == "gamma" else f"{name}.{leaf}"


def _modules(path: str) -> tuple[tuple[str, int], ...]:
    """Official modules that hold what our module at `path` holds, with their share of its rows."""
    if path == "head":
        return (("head", 1),)
    match = re.fullmatch(r"stages\.(\d)\.(embed|blocks\.\d+|norm)\.?(.*)", path)
    assert match, path
    stage, part, inner = int(match[1]) + 1, match[2], match[3]
    if part == "norm":
        return ((f"norm{stage}", 1),)
    if part == "embed":
        return ((f"patch_embed{stage}.{_EMBED[inner]}", 1),)
    prefix = f"block{stage}.{part.removeprefix('blocks.')}"
    head = re.fullmatch(r"mixer\.heads\.(\d)", inner)
    if head:
        return ((f"{prefix}.attn.local_conv_{int(head[1]) + 1}", 1),)
    return tuple((f"{prefix}.{name}", share) for name, share in _BLOCK[inner])


def _shape(path: str, value: Tensor) -> tuple[int, ...]:
    """Official shape of a tensor that is not split."""
    if path.endswith("mixer.aggregate") and value.dim() == 4:
        return (value.shape[0], value.shape[2], 1, 1)  # (eC, 1, h, 1): heads are its channels
    if path.endswith("mixer.modulate") and value.dim() == 2:
        return (*value.shape, 1, 1)
    return tuple(value.shape)


def _check(wanted: Mapping[str, Tensor], given: Mapping[str, Any]) -> None:
    """Raise ConfigError where the keys or the shapes differ."""
    missing = [k for k in wanted if k not in given]
    unexpected = [str(k) for k in given if k not in wanted]
    misshapen = [
        f"{k} is {_describe(given[k])}, not {tuple(v.shape)}"
        for k, v in wanted.items()
        if k in given and _describe(given[k]) != str(tuple(v.shape))
    ]
    kinds = {"missing": missing, "unexpected": unexpected, "wrong-shaped": misshapen}
    found = [f"{len(keys)} {kind}: {_some(keys)}" for kind, keys in kinds.items() if keys]
    if found:
        way_out = "Build the network these weights belong to."
        if any("gamma_" in k for k in missing + unexpected):
            way_out = "`layer_scale` of the model config decides over the gamma keys."
        raise ConfigError(
            f"official weights: keys and shapes must be those of the network (got "
            f"{'; '.join(found)}). {way_out}"
        )


def _describe(value: Any) -> str:
    """The shape of a tensor, or the type of what is none."""
    return str(tuple(value.shape)) if isinstance(value, Tensor) else f"a {type(value).__name__}"


def _some(keys: list[str]) -> str:
    """The first few of `keys`, and how many more."""
    more = len(keys) - _SHOWN
    return ", ".join(keys[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
