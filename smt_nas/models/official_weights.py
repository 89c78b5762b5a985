"""Weights of the published code, into this network and back.

Both hold the same numbers, under other names and in other groupings: the published network keeps
q apart from k|v and s apart from v, and has 1x1 convolutions where linear layers stand here.
`_EMBED`, `_BLOCK` and `_to_official_shape` are the whole mapping; the rest walks it. It is by name
alone, so it does not matter which kernels of the mixers the published code builds; but its FFN has
a 3x3 kernel always, so a network of another has no official form. Weights of other shapes than a
network's are refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from smt_nas.errors import ConfigError, list_names
from smt_nas.models.smt import SMT
from smt_nas.models.weight_sets import EMA, MODEL, find_weight_sets, match_weight_sets

OFFICIAL_ANCHOR = "patch_embed1.conv.0.weight"
"""A tensor that every network of the published code has."""

_DENSE_LOCAL = re.compile(r"(block[1-4]\.\d+\.attn)\.dw_conv\.")
"""The MSA's convolution in the published code of detection and segmentation; `local_conv` in that
of classification. Each loads the other's weights without it and does not say so."""

_FFN_KERNEL = 3  # of the published code, which has no word for another
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

_OWN_EMBED = {theirs: ours for ours, theirs in _EMBED.items()}
_OWN_BLOCK = {
    theirs: (ours, i, len(parts))
    for ours, parts in _BLOCK.items()
    for i, (theirs, _) in enumerate(parts)
}
"""The same, from theirs: our module, which part of it, of how many."""


def to_official(model: SMT) -> dict[str, Tensor]:
    """The state of `model` as the published code names and shapes it.

    Returns: copies, detached, on the model's device. Without a head for a features-only network.

    Raises:
        ConfigError: the published code cannot build it, so that it could not load them.
    """
    kernels = sorted({stage.ffn_kernel for stage in model.arch.stages} - {_FFN_KERNEL})
    if kernels:
        raise ConfigError(
            f"official weights: ffn_kernel must be {_FFN_KERNEL} in every stage (got {kernels}). "
            "The published code builds no other; keep the weights as safetensors."
        )
    return {
        name: part.detach().clone()
        for key, value in model.state_dict().items()
        for name, part in _split_tensor(key, value)
    }


def load_official(model: SMT, state_dict: Mapping[str, Any], ema: bool = False) -> None:
    """Load a state of the published code, strictly; also as released, under the key `model`.

    Keys and prefixes around it do not matter, see `weight_sets`. A features-only network takes no
    head, so `head.*` is then passed over.

    Args:
        model: gets the weights.
        state_dict: the state, or what a trainer saved it in.
        ema: take the moving average; else it is taken only where there is nothing else.

    Raises:
        ConfigError: a key is missing, is not known, or has another shape. Lists them; the model is
            left as it was. Or there are several networks, or no average.
    """
    given = _find_official(state_dict, EMA if ema else None)
    if model.features_only:
        given = {k: v for k, v in given.items() if not k.startswith("head.")}
    own = model.state_dict()
    wanted = {key: _split_tensor(key, value) for key, value in own.items()}
    _check_state({name: part for parts in wanted.values() for name, part in parts}, given)
    loaded = {
        key: torch.cat([given[name].reshape(-1) for name, _ in parts]).reshape(own[key].shape)
        for key, parts in wanted.items()
    }
    model.load_state_dict(loaded)


def is_official(state_dict: Mapping[str, Any]) -> bool:
    """Whether these are weights of the published code, bare or as released."""
    return bool(find_weight_sets(state_dict, [OFFICIAL_ANCHOR]))


def from_official(state_dict: Mapping[str, Any]) -> tuple[dict[str, Tensor], list[str]]:
    """A state of the published code under our names, as far as it goes.

    No network is needed, so nothing is checked against one.

    Returns: copies in our grouping and shapes, and the keys that could not be placed: what is no
        tensor, is not of the family, or lacks its other part (q without k|v).
    """
    given = _find_official(state_dict, None)
    parts: dict[str, dict[int, str]] = {}  # our key -> which part of it -> their key
    counts: dict[str, int] = {}
    for key, value in given.items():
        place = _locate(str(key)) if isinstance(value, Tensor) else None
        if place is not None:
            own, part, counts[own] = place
            parts.setdefault(own, {})[part] = key
    state: dict[str, Tensor] = {}
    for own, keys in parts.items():
        values = [given[keys[i]].detach() for i in sorted(keys)]
        inner = {v.shape[1:] if v.dim() else None for v in values}
        if len(values) == counts[own] == 1:
            state[own] = _to_own_shape(own, values[0].clone())
        elif len(values) == counts[own] and len(inner - {None}) == len(inner) == 1:
            state[own] = torch.cat(values)
    placed = {key for own in state for key in parts[own].values()}
    return state, [str(key) for key in given if key not in placed]


def _find_official(state_dict: Mapping[str, Any], word: str | None) -> dict[str, Any]:
    """The one state that is meant; all there is where none is recognised, for the lists of keys."""
    sets = find_weight_sets(state_dict, [OFFICIAL_ANCHOR])
    matches = match_weight_sets(sets, word)
    if len(matches) > 1 or (sets and not matches):
        labels = list_names([s.label or MODEL for s in sets], _SHOWN)
        raise ConfigError(
            f"official weights: must be of one network, or have the average asked for (got "
            f"{labels}). Hand over the state dict that is meant."
        )
    if matches:
        return _rename_local(matches[0].tensors)
    wrapped = state_dict.get("model")
    return _rename_local(wrapped if isinstance(wrapped, Mapping) else state_dict)


def _rename_local(state: Mapping[Any, Any]) -> dict[str, Any]:
    """The state with the classification code's name of a convolution that others rename.

    A key stays as it is, and so is not expected, where the other name is there too.
    """
    renamed = {}
    for key, value in state.items():
        name = _DENSE_LOCAL.sub(r"\1.local_conv.", str(key))
        renamed[str(key) if name in state else name] = value
    return renamed


def _locate(key: str) -> tuple[str, int, int] | None:
    """Where an official tensor belongs: our key, which part of it, of how many."""
    module, _, leaf = key.rpartition(".")
    if leaf.startswith("gamma_"):
        module, leaf = key, "gamma"
    if module == "head":
        return f"head.{leaf}", 0, 1
    match = re.fullmatch(r"(norm|patch_embed|block)([1-4])\.?(.*)", module)
    if match is None:
        return None
    kind, stage, inner = match[1], f"stages.{int(match[2]) - 1}", match[3]
    if kind == "block":
        return _locate_in_block(stage, inner, leaf)
    if kind == "norm":
        return None if inner else (f"{stage}.norm.{leaf}", 0, 1)
    return (f"{stage}.embed.{_OWN_EMBED[inner]}.{leaf}", 0, 1) if inner in _OWN_EMBED else None


def _locate_in_block(stage: str, inner: str, leaf: str) -> tuple[str, int, int] | None:
    block, _, module = inner.partition(".")
    prefix = f"{stage}.blocks.{block}"
    head = re.fullmatch(r"attn\.local_conv_([1-9]\d*)", module)
    if head:
        return f"{prefix}.mixer.heads.{int(head[1]) - 1}.{leaf}", 0, 1
    if module not in _OWN_BLOCK or not block.isdecimal():
        return None
    own, part, count = _OWN_BLOCK[module]
    return f"{prefix}.{own}.{leaf}", part, count


def _to_own_shape(key: str, value: Tensor) -> Tensor:
    """What `_to_official_shape` changes, put back: 1x1 convolutions as they stand here."""
    if key.endswith("mixer.aggregate.weight") and value.dim() == 4:
        return value.transpose(1, 2)
    if key.endswith("mixer.modulate.weight") and value.dim() == 4:
        return value.flatten(1)
    return value


def _split_tensor(key: str, value: Tensor) -> list[tuple[str, Tensor]]:
    """One of our tensors as the official ones it holds: name and view."""
    path, _, leaf = key.rpartition(".")
    modules = _find_modules(path)
    total = sum(share for _, share in modules)
    if total == 1:
        return [(_join_name(modules[0][0], leaf), value.reshape(_to_official_shape(path, value)))]
    rows = value.shape[0] // total
    pieces = torch.split(value, [rows * share for _, share in modules])
    return [
        (_join_name(name, leaf), piece) for (name, _), piece in zip(modules, pieces, strict=True)
    ]


def _join_name(name: str, leaf: str) -> str:
    """`norm1.weight`; but a layer scale is a bare parameter there: `gamma_1`."""
    return name if leaf == "gamma" else f"{name}.{leaf}"


def _find_modules(path: str) -> tuple[tuple[str, int], ...]:
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


def _to_official_shape(path: str, value: Tensor) -> tuple[int, ...]:
    """Official shape of a tensor that is not split."""
    if path.endswith("mixer.aggregate") and value.dim() == 4:
        return (value.shape[0], value.shape[2], 1, 1)  # (eC, 1, h, 1): heads are its channels
    if path.endswith("mixer.modulate") and value.dim() == 2:
        return (*value.shape, 1, 1)
    return tuple(value.shape)


def _check_state(wanted: Mapping[str, Tensor], given: Mapping[str, Any]) -> None:
    """Raise ConfigError where the keys or the shapes differ."""
    missing = [k for k in wanted if k not in given]
    unexpected = [str(k) for k in given if k not in wanted]
    misshapen = [
        f"{k} is {_describe_value(given[k])}, not {tuple(v.shape)}"
        for k, v in wanted.items()
        if k in given and _describe_value(given[k]) != str(tuple(v.shape))
    ]
    kinds = {"missing": missing, "unexpected": unexpected, "wrong-shaped": misshapen}
    problems = [f"{len(keys)} {kind}: {_list_some(keys)}" for kind, keys in kinds.items() if keys]
    if problems:
        way_out = "Build the network these weights belong to."
        if any("gamma_" in k for k in missing + unexpected):
            way_out = "`layer_scale` of the model config decides over the gamma keys."
        raise ConfigError(
            f"official weights: keys and shapes must be those of the network (got "
            f"{'; '.join(problems)}). {way_out}"
        )


def _describe_value(value: Any) -> str:
    """The shape of a tensor, or the type of what is none."""
    return str(tuple(value.shape)) if isinstance(value, Tensor) else f"a {type(value).__name__}"


def _list_some(keys: list[str]) -> str:
    """The first few of `keys`, and how many more."""
    more = len(keys) - _SHOWN
    return ", ".join(keys[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
