"""Reading weights, whoever wrote them: a training of ours, or the published code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from smt_nas.arch import Architecture
from smt_nas.errors import StoreError, format_count, list_names
from smt_nas.models import SMT, build, from_official, is_official
from smt_nas.models.official_weights import OFFICIAL_ANCHOR
from smt_nas.models.smt import OWN_ANCHOR
from smt_nas.models.weight_sets import EMA as EMA_WORD
from smt_nas.models.weight_sets import MODEL as MODEL_WORD
from smt_nas.models.weight_sets import WeightSet, find_weight_sets, match_weight_sets
from smt_nas.train.weights.card import Card, parse_card
from smt_nas.train.weights.checkpoint import EMA, MODEL, STATE, STATE_KEY, Checkpoint, find_latest
from smt_nas.train.weights.tensors import read_metadata, read_tensors
from smt_nas.train.weights.torch_files import read_torch_file, unreadable_error

BEST = "best.safetensors"
_MOST_NAMES = 4  # listed of many
_LAYER_SCALE = 1e-4  # of the published networks that have one; the weights bring the values


@dataclass(frozen=True)
class LoadedWeights:
    """Weights that were read.

    Attributes:
        card: what they say of themselves; None for weights without one.
        state: tensors by our names, on the CPU; of floats, as float32.
        source: the file they are from.
        official: whether the published code wrote them.
        unknown: names in the file that have none of ours.
        averaged: whether they are a moving average.
        notes: what a user must know of what was taken from the file, a line each.
    """

    card: Card | None
    state: dict[str, Tensor]
    source: Path
    official: bool
    unknown: tuple[str, ...] = ()
    averaged: bool = False
    notes: tuple[str, ...] = ()


def read_weights(path: Path) -> LoadedWeights:
    """Read weights.

    Args:
        path: a .safetensors file of ours; the folder of a checkpoint (the weights that were
            evaluated: the moving average where one was kept); the folder of a training (its best
            weights, else its last checkpoint); a .pth of the published code or of ours, as any
            trainer saves it, see `weight_sets`. After it, `:ema` asks for the moving average,
            `:model` for the network's own weights, `:KEY` for those under a key of the file. No
            code in a file is run.

    Raises:
        StoreError: it is missing, damaged, holds no weights of an SMT, those of several, or not
            those asked for.
    """
    place, word = _split_word(path)
    file = find_file(place, word)
    if not _is_safetensors(file):
        return _to_loaded(read_torch_file(file), None, file, word)
    tensors, metadata = read_tensors(file)
    _check_kind(file, metadata)
    return _to_loaded(tensors, parse_card(metadata, file), file, word)


def read_card(path: Path) -> Card | None:
    """The card of what `read_weights` reads from a path, without reading tensors.

    Returns: None where there is none, as in every .pth.

    Raises:
        StoreError: it is missing or damaged.
    """
    file = find_file(*_split_word(path))
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


def build_stated_network(
    loaded: LoadedWeights, arch: Architecture, called: str, way_out: str
) -> SMT:
    """The network that a user says weights are of, in eval mode. No random numbers are drawn.

    Its classes are those of their head, its layer scales are there where theirs are.

    Args:
        loaded: the weights.
        arch: which network, but for these two.
        called: how the user calls it.
        way_out: of a refusal.

    Raises:
        StoreError: they are of another network; lists what is missing and unexpected.
    """
    changes: dict[str, Any] = {"layer_scale": None}
    head = loaded.state.get("head.weight")
    if head is not None and head.dim():
        changes["num_classes"] = len(head)
    if any(".scale1." in name for name in loaded.state):
        changes["layer_scale"] = arch.layer_scale or _LAYER_SCALE
    model = build(arch.model_copy(update=changes), device="meta")
    different = describe_differences(model.state_dict(), loaded.state)
    if different:
        if loaded.unknown:
            different += f"; {len(loaded.unknown)} of no SMT: {list_tensors(loaded.unknown)}"
        raise StoreError(
            f"{loaded.source}: must hold the weights of {called} (got {different}). {way_out}"
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


def _split_word(path: Path) -> tuple[Path, str | None]:
    """`w.pth:ema` as the file and what of it; a file that is called so is itself."""
    place, colon, word = str(path).rpartition(":")
    if not colon or not place or not word or path.exists() or not Path(place).exists():
        return path, None
    return Path(place), word


def find_file(path: Path, word: str | None = None) -> Path:
    """The file of the weights that a path stands for.

    Args:
        path: as `read_weights` takes it.
        word: `ema` or `model` picks a file of a checkpoint; None for the weights that were
            evaluated.

    Raises:
        StoreError: there is none.
    """
    try:
        if path.is_file():
            return path
        if not path.exists():
            raise StoreError(
                f"{path}: must be weights, a checkpoint or the folder of a training (got no such "
                "file). Check the path."
            )
        if (path / STATE).is_file():
            return _choose_file(Checkpoint(path, 0), word)
        for name in (BEST, MODEL):
            if (path / name).is_file() and _holds(path / name, word):
                return path / name
    except OSError as error:
        raise unreadable_error(path, error) from error
    passed: list[str] = []
    checkpoint = find_latest(path, passed.append)
    if checkpoint is not None:
        return _choose_file(checkpoint, word)
    reason = " ".join(passed) or f"neither {BEST} nor a checkpoint is in it"
    raise StoreError(
        f"{path}: must be a checkpoint or the folder of a training (got one without weights: "
        f"{reason}). Name another."
    )


def _holds(file: Path, word: str | None) -> bool:
    """Whether the weights of a file are those asked for, by their card."""
    card = None if word is None else parse_card(read_metadata(file), file)
    return card is None or card.weights == word


def _choose_file(checkpoint: Checkpoint, word: str | None) -> Path:
    file = {None: checkpoint.eval_weights, "model": checkpoint.path / MODEL}.get(
        word, checkpoint.path / EMA
    )
    if not file.is_file():
        raise StoreError(
            f"{checkpoint.path}: has no moving average (got :{word}). Leave :{word} out."
        )
    return file


def _is_safetensors(file: Path) -> bool:
    """By what it begins with: the length of a header, and the header, which is JSON."""
    try:
        with file.open("rb") as opened:
            start = opened.read(9)
    except OSError as error:
        raise unreadable_error(file, error) from error
    if not start:
        raise StoreError(f"{file}: must hold weights (got an empty file). Restore it from a copy.")
    return file.suffix == ".safetensors" or start[8:] == b"{"


def _check_kind(file: Path, metadata: Mapping[str, str]) -> None:
    if STATE_KEY in metadata:
        raise StoreError(
            f"{file}: must hold weights (got the state of an optimizer). Name its folder, or "
            f"{MODEL} in it."
        )


def _to_loaded(
    content: Mapping[Any, Any], card: Card | None, file: Path, word: str | None
) -> LoadedWeights:
    sets = find_weight_sets(content, (OWN_ANCHOR, OFFICIAL_ANCHOR))
    if card is not None:
        sets = [replace(s, averaged=card.weights == "ema") for s in sets]
    chosen = _choose_set(sets, content, file, word)
    tensors = chosen.tensors
    if is_official(tensors):
        state, unknown = from_official(tensors)
    else:
        # a copy: torch.load leaves them in the file
        state = {k: v.detach().clone() for k, v in tensors.items() if isinstance(v, Tensor)}
        unknown = [k for k in tensors if k not in state]
    return LoadedWeights(
        card=card,
        state={k: v.float() if v.is_floating_point() else v for k, v in state.items()},
        source=file,
        official=is_official(tensors),
        unknown=tuple(unknown),
        averaged=chosen.averaged,
        notes=tuple(_describe_choice(chosen, sets, card, state)),
    )


def _choose_set(
    sets: Sequence[WeightSet], content: Mapping[Any, Any], file: Path, word: str | None
) -> WeightSet:
    if not sets:
        raise StoreError(
            f"{file}: must hold weights of an SMT (got "
            f"{list_tensors(_list_tensor_names(content)) or 'nothing'}). Name a checkpoint of "
            "`smt-nas train` or of the published code."
        )
    matches = match_weight_sets(sets, word)
    if len(matches) == 1:
        return matches[0]
    labels = list_tensors([_describe_label(s) for s in sets])
    if not matches:
        raise StoreError(
            f"{file}: must hold what :{word} asks for (got {labels}). Leave :{word} out, or name "
            "one of these."
        )
    raise StoreError(
        f"{file}: must say which weights are meant (got {len(matches)} networks: {labels}). Name "
        f"one, e.g. {file}:{matches[0].label.rpartition('.')[2] or 'model'}."
    )


def _describe_label(weights: WeightSet) -> str:
    kind = " (a moving average)" if weights.averaged else ""
    return f"{weights.label or 'its own tensors'}{kind}"


def _list_tensor_names(content: Mapping[Any, Any]) -> list[str]:
    """Names that tell what a file holds: of the tensors in it, else its keys."""
    names = [str(k) for k, v in content.items() if isinstance(v, Tensor)]
    for value in content.values():
        if not names and isinstance(value, Mapping):
            names = [str(k) for k, v in value.items() if isinstance(v, Tensor)]
    return names or [str(key) for key in content]


def _describe_choice(
    chosen: WeightSet, sets: Sequence[WeightSet], card: Card | None, state: Mapping[str, Tensor]
) -> Iterator[str]:
    """What was taken, where that is not all or not what is expected."""
    if len(sets) > 1:
        other = MODEL_WORD if chosen.averaged else EMA_WORD
        has_other = any(s.averaged != chosen.averaged for s in sets)
        way_out = f" (put :{other} after the file for the other)" if has_other else ""
        yield (
            f"has {' and '.join(_describe_label(s) for s in sets)}; taken is "
            f"{chosen.label or 'its own tensors'}{way_out}."
        )
    elif chosen.averaged and card is None:
        yield f"holds a moving average alone ({chosen.label or 'n_averaged'}); it is taken."
    if chosen.outside:
        yield (
            f"left out, beside {chosen.label or 'the weights'}: "
            f"{format_count(len(chosen.outside), 'tensor')}: {list_tensors(chosen.outside)}."
        )
    broken = [k for k, v in state.items() if v.is_floating_point() and not v.isfinite().all()]
    if broken:
        yield (
            f"no finite numbers in {format_count(len(broken), 'tensor')}: {list_tensors(broken)}."
        )
