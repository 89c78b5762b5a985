"""What a supernet's store of weights holds: the options of a space that decide its tensors."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from smt_nas.arch import Architecture, Mixer
from smt_nas.costs.bounds import bounds
from smt_nas.errors import ConfigError
from smt_nas.files import names
from smt_nas.fingerprint import Value
from smt_nas.space import SearchSpace
from smt_nas.space.space_config import StageOptions
from smt_nas.yaml import validated

WIDEST_RANGE = 16.0
"""Most MACs by fewest of the networks that one store serves. Published spaces have less than 10x
(AttentiveNAS 9.6x, arXiv 2011.09011); a wider range makes large and small networks pull apart."""
_KINDS: tuple[Mixer, ...] = ("sam", "msa")


def _to_tuples(value: Any) -> Any:
    """Lists of JSON as the tuples they were."""
    return tuple(map(_to_tuples, value)) if isinstance(value, list | tuple) else value


_Size = Annotated[int, Field(strict=True, ge=1)]
_Sizes = Annotated[tuple[_Size, ...], BeforeValidator(_to_tuples), Field(min_length=1)]
_KernelSets = Annotated[tuple[tuple[_Size, ...], ...], BeforeValidator(_to_tuples)]
_Slots = Annotated[tuple[tuple[Mixer, ...], ...], BeforeValidator(_to_tuples), Field(min_length=1)]


class StageMaxima(Value):
    """What the tensors of a stage must hold.

    Attributes:
        dims: widths, ascending.
        slots: kinds that each block may be of, at most as many as there are blocks.
        hidden: most hidden channels of the FFN.
        expand_ratio: greatest of SAM.
        kernels: SAM's kernel sets; none where no block is SAM.
        ffn_kernels: of the FFN's depthwise convolution.
        heads: of attention; none where no block is MSA, or in files of before.
    """

    dims: _Sizes
    slots: _Slots
    hidden: _Size
    expand_ratio: _Size
    kernels: _KernelSets
    ffn_kernels: _Sizes
    heads: Annotated[tuple[_Size, ...], BeforeValidator(_to_tuples)] = ()

    @property
    def dim(self) -> int:
        """The greatest width."""
        return max(self.dims)

    @property
    def depth(self) -> int:
        """Most blocks."""
        return len(self.slots)

    @property
    def mixers(self) -> tuple[Mixer, ...]:
        """Kinds of blocks there are."""
        return tuple(kind for kind in _KINDS if any(kind in slot for slot in self.slots))

    @model_validator(mode="after")
    def _kernel_sets_divide_widths(self) -> StageMaxima:
        for dim in self.dims:
            for kernels in self.kernels:
                if dim % len(kernels):
                    raise ValueError(
                        f"the number of kernels must divide every width (got {list(kernels)} and "
                        f"width {dim}). Drop the set or the width from the space."
                    )
        return self


class SupernetSpec(Value):
    """What a store holds; it stands in the store's file.

    Attributes:
        space: digest of the space whose networks it serves.
        image_size: pixels a side.
        in_channels: of the image.
        num_classes: outputs of the head: of the data, whatever the space says.
        stem_kernels: of the first convolution.
        stem_stride: of the stem.
        layer_scale: first value of the scales of the branches; None for none.
        stages: of each stage.
        share_ffn: SAM and MSA of a block have one FFN; else each its own.
    """

    schema_version: Literal[1] = 1
    space: str
    image_size: _Size
    in_channels: _Size
    num_classes: _Size
    stem_kernels: _Sizes
    stem_stride: Literal[2, 4]
    layer_scale: float | None = None
    stages: Annotated[
        tuple[StageMaxima, StageMaxima, StageMaxima, StageMaxima], BeforeValidator(_to_tuples)
    ]
    share_ffn: bool = True

    @classmethod
    def for_space(
        cls,
        space: SearchSpace,
        num_classes: int | None = None,
        *,
        share_ffn: bool = True,
        macs: tuple[float, float] | None = None,
        force: bool = False,
    ) -> SupernetSpec:
        """The store of a space.

        Args:
            space: whose networks.
            num_classes: of the data; None for the space's.
            share_ffn: see the attribute.
            macs: least and most of the networks that will be trained; None for all of the space.
            force: take a space whose range of MACs is wider than `WIDEST_RANGE`.

        Raises:
            ConfigError: that range is too wide, an expand ratio is no whole number, or the number
                of a set's kernels does not divide a width.
        """
        if not force:
            _check_range(space, macs)
        config = space.config
        values = {
            "space": space.digest,
            "image_size": config.image_size,
            "in_channels": config.in_channels,
            "num_classes": config.num_classes if num_classes is None else num_classes,
            "stem_kernels": tuple(sorted(config.stem.kernel)),
            "stem_stride": config.stem.stride,
            "layer_scale": config.layer_scale,
            "stages": [_list_maxima(space, i, stage) for i, stage in enumerate(config.stages)],
            "share_ffn": share_ffn,
        }
        return validated(cls, values, f"supernet of space {space.name}")

    def adapt(self, arch: Architecture) -> Architecture:
        """A network of the space with the head of the data, in eval mode's shape: no drop path.

        Raises:
            ConfigError: the store does not hold all of it; says what it lacks.
        """
        own = arch.model_copy(update={"num_classes": self.num_classes, "drop_path": 0.0})
        self.check(own)
        return own

    def check(self, arch: Architecture) -> None:
        """Refuse a network that the store does not hold. Raises ConfigError."""
        _require("image_size", arch.image_size, (self.image_size,))
        _require("in_channels", arch.in_channels, (self.in_channels,))
        _require("num_classes", arch.num_classes, (self.num_classes,))
        _require("layer_scale", arch.layer_scale, (self.layer_scale,))
        _require("stem.kernel", arch.stem.kernel, self.stem_kernels)
        _require("stem.stride", arch.stem.stride, (self.stem_stride,))
        for i, (stage, most) in enumerate(zip(arch.stages, self.stages, strict=True), 1):
            _require(f"stage{i}.dim", stage.dim, most.dims)
            _require(f"stage{i}.ffn_kernel", stage.ffn_kernel, most.ffn_kernels)
            _at_most(f"stage{i}.depth", stage.depth, most.depth)
            _at_most(f"stage{i} hidden width", stage.hidden, most.hidden)
            for j, (mixer, slot) in enumerate(zip(stage.mixers, most.slots, strict=False), 1):
                _require(f"stage{i} block {j}", mixer, slot)
            if "msa" in stage.mixers and most.heads:
                _require(f"stage{i}.heads", stage.heads, most.heads)
            if "sam" in stage.mixers:
                _require(f"stage{i}.kernels", stage.kernels, most.kernels)
                _at_most(f"stage{i}.expand_ratio", stage.expand_ratio, most.expand_ratio)


def _check_range(space: SearchSpace, macs: tuple[float, float] | None) -> None:
    every = bounds(space)["macs"]
    first, last = (every.low, every.high) if macs is None else macs
    low, high = max(first, every.low), min(last, every.high)
    if low > high:
        raise ConfigError(
            f"supernet of space {space.name}: the range of MACs must hold networks of it (got none "
            f"from {first / 1e6:g} to {last / 1e6:g} MMACs). The space has {every.low / 1e6:g} to "
            f"{every.high / 1e6:g}."
        )
    if high / low > WIDEST_RANGE:
        raise ConfigError(
            f"supernet of space {space.name}: its largest network may have at most "
            f"{WIDEST_RANGE:g} times the MACs of its smallest (got {high / low:.1f} times). "
            f"{_suggest_part(space)} a part of it, as with --macs {_suggest_macs(high)}; --force "
            "takes it as it is."
        )


def _suggest_part(space: SearchSpace) -> str:
    """First the shipped space of that name for supernets, where there is one."""
    name = f"{space.name}_supernet"
    return f"Use --space {name}, or train" if name in names("search_spaces") else "Train"


def _suggest_macs(high: float) -> str:
    """The range of the largest networks that a store serves."""
    low = math.ceil(high / WIDEST_RANGE / 1e5) / 10
    return f"{low:g}..{high / 1e6:.4g}MMACs"


def _list_maxima(space: SearchSpace, stage: int, options: StageOptions) -> dict[str, Any]:
    orders = [order for by_depth in space.patterns[stage].first for order in by_depth]
    slots = [{order[j] for order in orders if j < len(order)} for j in range(max(options.depth))]
    return {
        "dims": tuple(sorted(options.dim)),
        "slots": [[kind for kind in _KINDS if kind in slot] for slot in slots],
        "hidden": max(int(dim * ratio) for dim in options.dim for ratio in options.mlp_ratio),
        "expand_ratio": max(options.expand_ratio),
        "kernels": options.kernels if any("sam" in slot for slot in slots) else (),
        "ffn_kernels": tuple(sorted(options.ffn_kernel)),
        "heads": tuple(sorted(options.heads)) if any("msa" in slot for slot in slots) else (),
    }


def _require(what: str, value: Any, held: tuple[Any, ...]) -> None:
    if value not in held:
        options = ", ".join(map(str, held)) or "none"
        among = "one of " if len(held) > 1 else ""
        raise ConfigError(
            f"supernet: {what} must be {among}{options} (got {value}). Use a network of the space "
            "that it was trained for."
        )


def _at_most(what: str, value: int, most: int) -> None:
    if value > most:
        raise ConfigError(
            f"supernet: {what} must be at most {most} (got {value}). Use a network of the space "
            "that it was trained for."
        )
