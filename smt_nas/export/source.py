"""What is handed over: `ExportSource`, a network with its weights, and where they are from.

It is read from a preset or model config (fresh weights, or those of `--weights`), from weights that
say their network (a checkpoint or the folder of a training), or from the folder of a search, of
which `front/*.yaml` is enough.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from smt_nas.arch import PRESETS, SMALL_PRESETS, Architecture, load_arch
from smt_nas.errors import ConfigError, StoreError
from smt_nas.export.inherited import (
    InheritedWish,
    describe_inherited,
    read_wish,
    take_inherited,
)
from smt_nas.files import looks_like_path

if TYPE_CHECKING:
    from torch import Tensor, nn

    from smt_nas.models import SMT
    from smt_nas.train.recipe import EvalTransform
    from smt_nas.train.weights.card import Card
    from smt_nas.train.weights.weights import LoadedWeights

_SEED = 0  # of fresh weights
_FIRST = Path("front", "0.yaml")  # of a search: the best of its front
_SUFFIXES = (".yaml", ".yml", ".json")


@dataclass(frozen=True)
class WeightSource:
    """Where weights are from.

    Attributes:
        file: their name on disk; None for fresh ones, drawn by seed 0.
        card: what they say of their training; None where they say nothing.
        official: the published code wrote them.
        averaged: they are a moving average.
        supernet: folder of the supernet that they are inherited from; None of others.
        notes: what a user must know of what was taken from the file, a line each.
    """

    file: Path | None = None
    card: Card | None = None
    official: bool = False
    averaged: bool = False
    supernet: Path | None = None
    notes: tuple[str, ...] = ()

    def describe(self) -> str:
        """In a few words, e.g. `best.safetensors (a moving average)`; no path of this machine."""
        if self.supernet is not None:
            return f"inherited from supernet {self.supernet.resolve().name}"
        if self.card is not None and self.card.inherited is not None and self.file is not None:
            return f"{self.file.name} (inherited from supernet {self.card.inherited})"
        if self.file is None:
            return f"fresh, untrained (seed {_SEED})"
        kind = " (a moving average)" if self.averaged else ""
        return f"{self.file.name}{kind}"


@dataclass(frozen=True)
class ExportSource:
    """A network that is handed over.

    Attributes:
        name: how the user's file or preset calls it.
        arch: which network, at the image size it is handed over for.
        state: its weights by our names, fp32 on the CPU; None for fresh ones.
        weights: where they are from.
        transform: how images are prepared; None where the weights do not say.
        mean: of the images' channels, in 0..1; None likewise.
        std: of the images' channels; None likewise.
        classes: names, in the order of the head's rows; empty where the weights do not say.
    """

    name: str
    arch: Architecture
    state: Mapping[str, Tensor] | None = field(default=None, repr=False)
    weights: WeightSource = WeightSource()
    transform: EvalTransform | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    classes: tuple[str, ...] = ()

    @cached_property
    def model(self) -> SMT:
        """The network in eval mode, fp32 on the CPU, without gradients: nobody may change it."""
        import torch

        from smt_nas.models import build

        if self.state is None:
            model = build(self.arch, generator=torch.Generator().manual_seed(_SEED))
        else:
            model = build(self.arch, device="meta")
            model.load_state_dict(self.state, assign=True)
        return model.eval().requires_grad_(False)

    @cached_property
    def deployed(self) -> nn.Module:
        """The form of `model` that graphs are written from: the fused one, in eval mode."""
        return self.model.fused()

    def resized(self, image_size: int) -> ExportSource:
        """The same network for images of another size."""
        return replace(self, arch=self.arch.model_copy(update={"image_size": image_size}))


def load_export_source(
    spec: str, weights: str | None = None, supernet: str | None = None
) -> ExportSource:
    """Read what a user wants to hand over. No code in a file is run; nothing is downloaded.

    Args:
        spec: a preset; a model config; weights that say their network, as `read_weights` takes
            them; the folder of a search, for the first of its front.
        weights: as `read_weights` takes them, for a preset or a config; `inherited` for those of
            a supernet, or `supernet:RUN`; None for fresh ones.
        supernet: folder of the supernet that they are inherited from; None for the one that the
            search of the config was rated by.

    Raises:
        UnknownName: no such preset.
        ConfigError: a bad config, weights named twice, or a network that the supernet does not
            hold.
        StoreError: weights are missing, damaged, of another network, or do not say theirs; or a
            deployed file is named.
    """
    config = _find_config(spec)
    wanted = read_wish(weights, supernet)
    if wanted is not None:
        return _read_inherited(spec, config, wanted)
    _refuse_deployed(spec if config is None else weights)
    if config is None:
        if weights is not None:
            raise ConfigError(
                f"--weights {weights}: is for a preset or a model config (got {spec}, which are "
                "weights). Leave it out."
            )
        return _read_weighted(spec)
    arch = load_arch(config)
    if weights is None:
        return ExportSource(name=_name_of(config), arch=arch)
    return _read_stated(arch, config, weights)


def _read_inherited(spec: str, config: str | None, wanted: InheritedWish) -> ExportSource:
    if config is None:
        raise ConfigError(
            f"--weights {wanted.word}: is for a preset or a model config (got {spec}, which are "
            "weights). Leave it out."
        )
    arch = load_arch(config)
    taken = take_inherited(Path(config), arch, wanted)
    assert taken.card is not None
    source = _to_source(_name_of(config), taken.card.arch, taken)
    notes = (*source.weights.notes, *_list_changes(arch, source.arch))
    own = replace(source.weights, supernet=taken.source, notes=notes)
    return replace(source, weights=own)


def _find_config(spec: str) -> str | None:
    """The preset or model config that is meant; None for weights."""
    if spec in PRESETS or spec in SMALL_PRESETS or spec.endswith(_SUFFIXES):
        return spec
    path = Path(spec)
    if (path / _FIRST).is_file():
        return str(path / _FIRST)
    if (path / "front.csv").exists() or (path / "study.db").exists():
        raise StoreError(
            f"{spec}: must hold the network of a front (got no {_FIRST}). Write its front with "
            f"smt-nas front {spec}, or go on with the search."
        )
    if path.exists() or path.suffix or looks_like_path(spec):
        return None
    return spec  # a preset that does not exist, and an error that says so


def _refuse_deployed(place: str | None) -> None:
    from smt_nas.runtime.backends import find_backend

    if place is not None and Path(place).exists() and find_backend(Path(place)) is not None:
        raise StoreError(
            f"{place}: must be a network or its weights (got a deployed file, which is not read "
            "back). Name what it was exported from."
        )


def _name_of(config: str) -> str:
    """`smt_t`; `0` of a front as `RUN-0`, for a file that leaves its run."""
    path = Path(config)
    if path.parent.name == _FIRST.parent.name and path.suffix in _SUFFIXES:
        return f"{path.resolve().parent.parent.name}-{path.stem}"
    return path.stem


def _read_weighted(spec: str) -> ExportSource:
    from smt_nas.train.weights.weights import build_network, read_weights

    loaded = read_weights(Path(spec))
    if loaded.card is None:
        raise StoreError(
            f"{spec}: must say which network it is of (got weights without a card). Name it: "
            f"smt-nas export smt_t --weights {spec}."
        )
    place = Path(spec)
    name = place.resolve().name if place.is_dir() else loaded.source.stem
    return _to_source(name, build_network(loaded).arch, loaded)


def _read_stated(arch: Architecture, spec: str, weights: str) -> ExportSource:
    from smt_nas.train.weights.weights import build_stated_network, read_weights

    loaded = read_weights(Path(weights))
    way_out = "Name the network they are of, or weights of this one."
    built = build_stated_network(loaded, arch, spec, way_out).arch
    card = loaded.card
    if card is not None:
        same = {"image_size": arch.image_size, "drop_path": built.drop_path}
        if card.arch.model_copy(update=same).key != built.key:
            raise StoreError(
                f"{loaded.source}: must hold the weights of {spec} (got those of {card.arch.key}, "
                f"whose tensors have the same shapes but which computes otherwise). {way_out}"
            )
    source = _to_source(_name_of(spec), built, loaded)
    notes = (*source.weights.notes, *_list_changes(arch, built))
    return replace(source, weights=replace(source.weights, notes=notes))


def _list_changes(stated: Architecture, built: Architecture) -> Iterator[str]:
    """What weights say otherwise than the network that they were named for, a line each."""
    if built.num_classes != stated.num_classes:
        yield f"It has {built.num_classes} classes, as the weights (not {stated.num_classes})."
    if stated.layer_scale is not None and built.layer_scale is None:
        yield "It has no layer scales, as the weights."
    if stated.layer_scale is None and built.layer_scale is not None:
        yield "It has layer scales, as the weights."


def _to_source(name: str, arch: Architecture, loaded: LoadedWeights) -> ExportSource:
    card = loaded.card
    notes = list(loaded.notes)
    if card is not None and card.inherited is not None:
        notes.append(describe_inherited(card))
    if loaded.unknown:
        notes.append(f"{len(loaded.unknown)} tensors of no SMT are left out.")
    return ExportSource(
        name=name,
        arch=arch,
        state=loaded.state,
        weights=WeightSource(
            loaded.source, card, loaded.official, loaded.averaged, notes=tuple(notes)
        ),
        transform=None if card is None else card.evaluation,
        mean=None if card is None else card.mean,
        std=None if card is None else card.std,
        classes=() if card is None else card.classes,
    )
