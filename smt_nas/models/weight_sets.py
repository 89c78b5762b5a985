"""The sets of weights in what a trainer saved: under which key and prefix, averaged or not.

Trainers put a state dict under a key (`model`, `state_dict`, `net`, `model_state_dict`), put the
name of an attribute before every tensor (`model.` of Lightning, `backbone.` of a detector), wrap
the network (DDP, torch.compile, FSDP, AveragedModel), and keep a moving average beside it, under
some other key. None of these words needs to be known here: a tensor that every network of a family
has shows where a set begins, and what stands before its name is the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

MODEL, EMA = "model", "ema"
"""What a set is asked for by: the network's own weights, their moving average."""

_WRAPPERS = frozenset(
    {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module"}
)
"""Names that DDP, DeepSpeed, torch.compile, FSDP and activation checkpointing put before those of a
module; no module of a network is called so."""
_COUNTER = "n_averaged"  # of torch's AveragedModel, beside the tensors it averages
_AVERAGE = re.compile(r"(?<![a-z])(ema|swa|avg|averaged?|averaging|shadow)(?![a-z])")
_USUAL = ("", "model", "state_dict")  # where weights stand before all others
_DEEPEST = 4  # mappings in mappings


@dataclass(frozen=True)
class WeightSet:
    """The weights of one network in a file.

    Attributes:
        label: where they stand, e.g. `state_dict.backbone`; empty for the file itself.
        tensors: by name, without what stands before every name; also what is no tensor.
        averaged: whether they are an average over a training.
        outside: names of tensors beside them that belong to no set, e.g. of a detector's heads.
    """

    label: str
    tensors: dict[str, Any]
    averaged: bool
    outside: tuple[str, ...] = ()


def find_weight_sets(content: Mapping[Any, Any], anchors: Sequence[str]) -> list[WeightSet]:
    """The sets of weights in what was saved, in the order of the file.

    Args:
        content: a state dict, or mappings around some.
        anchors: names of tensors; every set holds one of them.
    """
    sets = [s for keys, m in _list_mappings(content) for s in _divide(keys, m, anchors)]
    swapped = _holds_average_in_place(content)
    if not swapped:
        return sets
    return [
        WeightSet(s.label, s.tensors, s.label.partition(".")[0] == "state_dict", s.outside)
        for s in sets
    ]


def match_weight_sets(sets: Sequence[WeightSet], word: str | None) -> list[WeightSet]:
    """The sets that a word asks for; one, where it is clear which.

    Args:
        sets: of a file.
        word: `model`, `ema`, a label or its last part; None for the weights themselves, or for the
            average where there is nothing else.
    """
    if word is None or word == MODEL:
        matches = [s for s in sets if not s.averaged]
        if word is None:
            matches = matches or list(sets)
    elif word == EMA:
        matches = [s for s in sets if s.averaged]
    else:
        matches = [s for s in sets if word in (s.label, s.label.rpartition(".")[2])]
    usual = sorted((s for s in matches if s.label in _USUAL), key=lambda s: _USUAL.index(s.label))
    return usual[:1] or matches


def _list_mappings(
    content: Mapping[Any, Any], keys: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Mapping[Any, Any]]]:
    """A mapping and those inside it, each with the keys that lead to it."""
    yield keys, content
    if len(keys) < _DEEPEST:
        for key, value in content.items():
            if isinstance(value, Mapping):
                yield from _list_mappings(value, (*keys, str(key)))


def _divide(
    keys: tuple[str, ...], mapping: Mapping[Any, Any], anchors: Sequence[str]
) -> Iterator[WeightSet]:
    """The sets whose tensors are the values of a mapping."""
    plain = {_drop_wrappers(str(k)): v for k, v in mapping.items() if not isinstance(v, Mapping)}
    prefixes = [name.removesuffix(a) for name in plain for a in anchors if _ends_with(name, a)]
    counted = [name.removesuffix(_COUNTER) for name in plain if _ends_with(name, _COUNTER)]
    members: dict[str, dict[str, Any]] = {prefix: {} for prefix in prefixes}
    outside = []
    for name, value in plain.items():
        owner = max((p for p in members if name.startswith(p)), key=len, default=None)
        if owner is not None and not _ends_with(name, _COUNTER):
            members[owner][name.removeprefix(owner)] = value
        elif isinstance(value, Tensor) and value.dim():
            outside.append(name)
    around = [word for word in keys if word not in _WRAPPERS]
    for prefix, tensors in members.items():
        label = ".".join([*around, *prefix.split(".")[:-1]])
        averaged = _names_average(label) or any(prefix.startswith(c) for c in counted)
        yield WeightSet(label, tensors, averaged, tuple(outside))


def _ends_with(name: str, leaf: str) -> bool:
    return name == leaf or name.endswith(f".{leaf}")


def _drop_wrappers(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)


def _names_average(label: str) -> bool:
    """Whether `state_dict_ema`, `ModelEma`, `ema.model`, `swa_model` speaks of an average."""
    split = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", label)
    return bool(_AVERAGE.search(split.lower()))


def _holds_average_in_place(content: Mapping[Any, Any]) -> bool:
    """Whether the average stands where the weights usually do, and the weights beside it.

    So do Lightning's WeightAveraging (`state_dict` and `current_model_state`) and MMEngine's
    EMAHook (`state_dict` and `ema_state_dict`, which then holds the weights).
    Sources: github.com/Lightning-AI/pytorch-lightning, callbacks/weight_averaging.py;
    github.com/open-mmlab/mmengine, hooks/ema_hook.py.
    """
    meta = content.get("meta")
    by_mmengine = "message_hub" in content or (
        isinstance(meta, Mapping) and "mmengine_version" in meta
    )
    if by_mmengine:
        return "ema_state_dict" in content
    return "current_model_state" in content and "averaging_state" in content
