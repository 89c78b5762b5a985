"""`--init`: weights to start from, and what of them could not be taken."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from smt_nas.errors import TrainingError
from smt_nas.models import SMT
from smt_nas.train.weights.weights import (
    LoadedWeights,
    describe_differences,
    list_misshapen,
    list_tensors,
)

_MAX_MAP_BYTES = 10_000_000  # a map of a million classes has 7 MB
_HEAD = ("head.weight", "head.bias")


def initialise_model(
    model: SMT, loaded: LoadedWeights, head_map: Path | None, shared: bool
) -> list[str]:
    """Start a network from weights.

    They must be the network's, except that a head of other classes is left out, and that layer
    scales which they lack stay as they start.

    Args:
        model: gets the weights; left as it was on an error.
        loaded: of `read_weights`.
        head_map: text file with the row of `loaded`'s head to take for each class, e.g. of 21,841
            rows for 1,000 classes.
        shared: take what has the same name and shape in a larger or smaller network of the same
            widths, and leave the rest.

    Returns: a line for the user for each kind of thing that was left out, and on what was taken of
        several; none for a full match.

    Raises:
        TrainingError: the weights are of another network, have nothing in common with it, or do
            not fit the head map.
    """
    given = dict(loaded.state)
    if head_map is not None:
        given |= _map_head(model, loaded, head_map)
    own = model.state_dict()
    fitting = _find_fitting(own, given)
    common = any(own[k].dim() > 1 and k not in _HEAD for k in fitting)
    if not common or not shared:
        _check_same_network(model, loaded, given, common)
    lines = [*loaded.notes, *_describe_left_out(own, given, fitting, loaded)]
    with torch.no_grad():
        for name in fitting:
            own[name].copy_(given[name])
    return [f"{loaded.source}: {line}" for line in lines]


def read_head_map(path: Path, rows: int, classes: int) -> list[int]:
    """Read the rows of a head to keep.

    Args:
        path: text of whole numbers, one a class; blanks, line ends or commas between them, with or
            without the brackets of a list.
        rows: of the head they are picked from.
        classes: of the head they make up.

    Raises:
        TrainingError: it cannot be read, is not such text, or a number is out of range.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_MAP_BYTES).decode("utf-8").strip()
    except OSError as error:
        raise TrainingError(
            f"--head-map {path}: cannot be read ({error.strerror}). Check the path."
        ) from error
    except UnicodeDecodeError as error:
        raise TrainingError(
            f"--head-map {path}: must be text (got byte {error.start} that is none)."
        ) from error
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    rows_kept = []
    for i, word in enumerate(text.replace(",", " ").split(), 1):
        if not re.fullmatch(r"[0-9]{1,9}", word) or int(word) >= rows:
            raise TrainingError(
                f"--head-map {path}: entry {i} must be a row of the head, 0 to {rows - 1} (got "
                f"{word[:40]!r})."
            )
        rows_kept.append(int(word))
    if len(rows_kept) != classes:
        raise TrainingError(
            f"--head-map {path}: must hold one number for each class (got {len(rows_kept)} for "
            f"{classes} classes)."
        )
    return rows_kept


def _map_head(model: SMT, loaded: LoadedWeights, path: Path) -> dict[str, Tensor]:
    """The rows of the head that the map names, in its order."""
    missing = [k for k in _HEAD if k not in loaded.state]
    if missing or not model.num_classes:
        which = "the network" if not model.num_classes else loaded.source
        raise TrainingError(
            f"--head-map {path}: needs a head to pick rows of, and one to fill (got none in "
            f"{which}). Leave it out."
        )
    rows = {loaded.state[k].shape[0] for k in _HEAD}
    picked = read_head_map(path, min(rows), model.num_classes)
    return {k: loaded.state[k][torch.tensor(picked)] for k in _HEAD}


def _find_fitting(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> list[str]:
    """Names that can be taken: of modules whose tensors all fit, as a bias alone means nothing."""
    modules: dict[str, list[str]] = {}
    for name in own:
        modules.setdefault(name.rpartition(".")[0], []).append(name)
    return [
        name
        for names in modules.values()
        if all(k in given and given[k].shape == own[k].shape for k in names)
        for name in names
    ]


def _check_same_network(
    model: SMT, loaded: LoadedWeights, given: Mapping[str, Tensor], common: bool
) -> None:
    """Refuse weights of another network."""
    own = {k: v for k, v in model.state_dict().items() if k not in _HEAD}
    missing_scales = {k for k in own if k.endswith(".gamma") and k not in given}
    own = {k: v for k, v in own.items() if k not in missing_scales}
    named = {k: v for k, v in given.items() if k not in _HEAD}
    different = describe_differences(own, named)
    if loaded.unknown:
        unknown = f"{len(loaded.unknown)} not of the family: {list_tensors(list(loaded.unknown))}"
        different = f"{different}; {unknown}" if different else unknown
    width = _describe_other_width(model, given)
    if width:
        different = f"{different}; {width}" if different else width
    if not different:
        return
    whose = f", {loaded.card.arch.key}," if loaded.card is not None else ""
    raise TrainingError(
        f"{loaded.source}: must hold the weights of this network, {model.arch.key} (got those of "
        f"another{whose} with {different}). {_suggest_way_out(named, own, common)}"
    )


def _describe_other_width(model: SMT, given: Mapping[str, Tensor]) -> str:
    """A head of other classes is left out; one of other features is of another network."""
    weight = given.get("head.weight")
    if weight is None or not model.num_classes:
        return ""
    if weight.dim() == 2 and weight.shape[1] == model.num_features:
        return ""
    return f"head.weight is {tuple(weight.shape)}, not ({model.num_classes}, {model.num_features})"


def _suggest_way_out(given: Mapping[str, Tensor], own: Mapping[str, Tensor], common: bool) -> str:
    if not common:
        return "They have nothing in common; name weights of a network with these widths."
    extra = {k for k in given if k not in own}
    if extra and all(k.endswith(".gamma") for k in extra):
        return (
            "Layer scales: have them with --set layer_scale=1e-4, or take the rest with "
            "--init-shared."
        )
    return "Take what both share with --init-shared, or name weights of this network."


def _describe_left_out(
    own: Mapping[str, Tensor],
    given: Mapping[str, Tensor],
    fitting: list[str],
    loaded: LoadedWeights,
) -> list[str]:
    """What the user should know, a line a kind."""
    lines = _describe_head(own, given)
    rest = {k: v for k, v in own.items() if k not in fitting and k not in _HEAD}
    scales = [k for k in rest if k.endswith(".gamma") and k not in given]
    if scales:
        start = float(own[scales[0]].flatten()[0])
        lines.append(f"has no layer scales for {list_tensors(scales)}; they start at {start:g}.")
    absent = [k for k in rest if k not in given and k not in scales]
    if absent:
        lines.append(
            f"lacks {len(absent)} of the network, which start fresh: {list_tensors(absent)}."
        )
    other = list_misshapen(rest, given)
    if other:
        lines.append(
            f"has {len(other)} of another shape, which start fresh: {list_tensors(other)}."
        )
    unused = [k for k in given if k not in own and k not in _HEAD] + list(loaded.unknown)
    if unused:
        lines.append(
            f"has {len(unused)} that the network has no place for: {list_tensors(unused)}."
        )
    if absent or other:
        lines.insert(0, f"{len(fitting)} of {len(own)} tensors of the network are from it.")
    return lines


def _describe_head(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> list[str]:
    theirs, ours = (state.get("head.weight") for state in (given, own))
    if ours is None:
        return [] if theirs is None else ["its head is left out, as the network has none."]
    if theirs is None:
        return ["has no head; the network's starts fresh."]
    if theirs.shape == ours.shape:
        return []
    return [
        f"its head of {theirs.shape[0]} classes is left out, as the network has {ours.shape[0]}; "
        "that one starts fresh (--head-map picks rows instead)."
    ]
