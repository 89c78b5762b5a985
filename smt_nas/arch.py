"""What a network is: `Architecture`, its `Stem` and four `Stage`s, and the published presets.

A value, not a module: frozen, comparable, and its YAML *is* the model config that users keep.
Facts of the family: Lin et al., "Scale-Aware Modulation Meet Transformer", ICCV 2023
(arXiv 2307.08579), and its published code.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from smt_nas.errors import ConfigError, UnknownName
from smt_nas.files import looks_like_path, write_atomic
from smt_nas.fingerprint import ADDED, Value, added_fields, fingerprint
from smt_nas.yaml import read_yaml, to_yaml, validated

Mixer = Literal["sam", "msa"]
Stacking = Literal["alternate", "tail"]

SCHEMA = 2
"""Newest version of the model config: 1, and 2 where a field stands that was added since."""

OFFICIAL_KERNELS = (3, 5, 7, 9)
ONLY_IN: dict[str, Mixer] = {
    "kernels": "sam",
    "expand_ratio": "sam",
    "head_dim": "msa",
    "heads": "msa",
}
"""Fields of a stage that act in blocks of one kind; all others act in every block."""

MAX_HEADS = 8
_DECIMALS = 0.004  # a share is written with two decimals: 0.33 of 3 blocks is one block


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


Count = Annotated[int, Field(strict=True, ge=1, le=16384)]
Kernel = Annotated[int, Field(strict=True, ge=1, le=63)]
Ratio = Annotated[float, Field(strict=True, gt=0, le=64, allow_inf_nan=False)]
Share = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]


class Stem(Value):
    """Conv k x k (stride `stride // 2`) - BN - ReLU - conv 2x2 (stride 2) - LayerNorm.

    Attributes:
        kernel: 3, 5 or 7, padded by `kernel // 2`.
        stride: 4, or 2 for small images (the first convolution then keeps the size).
    """

    kernel: Literal[3, 5, 7] = 3
    stride: Literal[2, 4] = 4


class Stage(Value):
    """A run of blocks at one resolution and width.

    Attributes:
        dim: channels C.
        depth: number of blocks.
        mlp_ratio: FFN hidden width is `int(dim * mlp_ratio)`.
        expand_ratio: width of the aggregation inside a SAM block, as a multiple of `dim`.
        kernels: the depthwise kernel of each SAM head (MHMC), ascending, 1 to 8 odd sizes.
        attention_ratio: share of MSA blocks, 0..1, rounded down to whole blocks.
        stacking: `alternate` spreads the MSA blocks, SAM first; `tail` puts them last.
        head_dim: channels of one attention head.
        ffn_kernel: of the FFN's depthwise convolution; 3 as published, or 5.
    """

    dim: Count
    depth: Annotated[int, Field(strict=True, ge=1, le=256)]
    mlp_ratio: Ratio = 4.0
    expand_ratio: Annotated[int, Field(strict=True, ge=1, le=16)] = 2
    kernels: Annotated[tuple[Kernel, ...], BeforeValidator(_as_tuple)] = OFFICIAL_KERNELS
    attention_ratio: Share = 0.0
    stacking: Stacking = "alternate"
    head_dim: Count = 32
    ffn_kernel: Annotated[Literal[3, 5], ADDED] = 3

    @field_validator("kernels")
    @classmethod
    def _kernel_set(cls, kernels: tuple[int, ...]) -> tuple[int, ...]:
        if not 1 <= len(kernels) <= MAX_HEADS:
            raise ValueError(f"must hold 1 to {MAX_HEADS} kernel sizes (got {len(kernels)}).")
        if any(k % 2 == 0 for k in kernels):
            raise ValueError(f"must be odd sizes (got {list(kernels)}).")
        if len(set(kernels)) < len(kernels):
            raise ValueError(f"must be distinct sizes (got {list(kernels)}).")
        return tuple(sorted(kernels))  # a set has no order; heads go from small to large

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        if "sam" in self.mixers and self.dim % len(self.kernels):
            n = len(self.kernels)
            raise ValueError(
                f"dim must be divisible by the number of kernels (got dim={self.dim}, {n} "
                f"kernels). Use {_near_multiples(self.dim, n)}."
            )
        if "msa" in self.mixers and self.dim % self.head_dim:
            raise ValueError(
                f"dim must be divisible by head_dim (got dim={self.dim}, head_dim="
                f"{self.head_dim}). Use {_near_multiples(self.dim, self.head_dim)}."
            )
        if self.hidden < 1:
            raise ValueError(f"mlp_ratio leaves no hidden channel (got {self.mlp_ratio}).")
        return self

    @cached_property
    def mixers(self) -> tuple[Mixer, ...]:
        """The blocks in order, e.g. `('sam', 'msa', 'sam', 'msa')`."""
        return arrange_mixers(self.depth, self.attention_ratio, self.stacking)

    def acts(self, field: str) -> bool:
        """Whether a field has an effect; the kernels of a stage without SAM blocks have none."""
        return field not in ONLY_IN or ONLY_IN[field] in self.mixers

    @property
    def hidden(self) -> int:
        """Hidden channels of the FFN."""
        return int(self.dim * self.mlp_ratio)

    @property
    def heads(self) -> int:
        """Number of attention heads of an MSA block."""
        return self.dim // self.head_dim


@lru_cache(maxsize=65_536)
def arrange_mixers(depth: int, attention_ratio: float, stacking: Stacking) -> tuple[Mixer, ...]:
    """Spell out the blocks of a stage.

    `alternate`: block j (from 1) is MSA where `floor(j * ratio)` steps up, so 0.5 gives the
    published sam, msa, sam, msa at any depth, and SAM is first for every ratio below 1.
    `tail`: the last `floor(depth * ratio)` blocks are MSA.
    """
    steps = [int(j * attention_ratio + min(j * _DECIMALS, 0.12)) for j in range(depth + 1)]
    if stacking == "tail":
        steps = [max(0, j - depth + steps[-1]) for j in range(depth + 1)]
    kinds: tuple[Mixer, Mixer] = ("sam", "msa")
    return tuple(kinds[b > a] for a, b in itertools.pairwise(steps))


class Architecture(Value):
    """One network of the SMT family.

    Attributes:
        image_size: pixels of the square input the costs refer to; the network takes any size
            from 32 px.
        num_classes: outputs of the head.
        in_channels: channels of the image.
        stem: the first two convolutions.
        stages: four stages; each halves the resolution of the one before.
        layer_scale: initial value of the per-channel residual scales, or None for none.
        drop_path: stochastic depth of the last block (grows linearly from 0). Training only.
    """

    image_size: Annotated[int, Field(strict=True, ge=32, le=8192)] = 224
    num_classes: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] = 1000
    in_channels: Annotated[int, Field(strict=True, ge=1, le=1024)] = 3
    stem: Stem = Stem()
    stages: Annotated[tuple[Stage, Stage, Stage, Stage], BeforeValidator(_as_tuple)]
    layer_scale: Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)] | None = None
    drop_path: Annotated[float, Field(strict=True, ge=0, lt=1, allow_inf_nan=False)] = 0.0

    @cached_property
    def key(self) -> str:
        """12 hex digits; equal for networks that compute the same function at the same size.

        Built from what has an effect only: the kernels of a stage without SAM blocks and
        `drop_path`, which acts in training alone, are left out.
        """
        return fingerprint(json.dumps(_list_effective(self), sort_keys=True, separators=(",", ":")))

    @property
    def schema_version(self) -> int:
        """The oldest version of the model config that says this network."""
        added = added_fields(Stage)
        values = self.to_values()["stages"]
        return 2 if any(added.keys() & stage.keys() for stage in values) else 1

    def to_values(self) -> dict[str, Any]:
        """The model config, in plain values; without fields of no effect, as `acts` tells."""
        values = self.model_dump(mode="json")
        for stage, fields in zip(self.stages, values["stages"], strict=True):
            for name in [name for name in fields if not stage.acts(name)]:
                del fields[name]
        return values

    def to_yaml(self) -> str:
        """The model config, as YAML."""
        return to_yaml(self.to_values())

    def save(self, path: Path) -> None:
        """Write the model config. Raises StoreError where it cannot be written."""
        write_atomic(path, self.to_yaml())


def _list_effective(arch: Architecture) -> dict[str, Any]:
    """What of an architecture shapes its function, as plain values: schema 1, then what was added.

    A field added later stands here only where it acts and is not at its default.
    """
    names = ("image_size", "num_classes", "in_channels", "layer_scale")
    return {
        "stages": [_list_effective_of_stage(stage) for stage in arch.stages],
        "stem": arch.stem.model_dump(),
        **{name: getattr(arch, name) for name in names},
    }


def _list_effective_of_stage(stage: Stage) -> dict[str, Any]:
    values: dict[str, Any] = {"dim": stage.dim, "hidden": stage.hidden, "mixers": stage.mixers}
    for name in ("kernels", "expand_ratio", "head_dim"):
        values[name] = getattr(stage, name) if stage.acts(name) else None
    for name, default in added_fields(Stage).items():
        if stage.acts(name) and getattr(stage, name) != default:
            values[name] = getattr(stage, name)
    return values


def _near_multiples(value: int, of: int) -> str:
    """`96 or 104` for 100 and 8."""
    below = value // of * of
    return " or ".join(str(v) for v in (below, below + of) if v > 0)


def published_drop_path(stages: Sequence[Stage]) -> float:
    """Drop path for a network of this size, by the rule the published ones follow.

    0.1 for every 3,400 units of (total depth x width of the third stage), rounded to a tenth, at
    most 0.4: T 0.1, S 0.2, B 0.3, L 0.4.
    """
    size = sum(s.depth for s in stages) * stages[2].dim
    return min(0.4, round(size / 34_000, 1))


def _build_published(
    dims: tuple[int, ...],
    depths: tuple[int, ...],
    mlp_ratios: tuple[float, ...],
    stem: Literal[3, 7],
    head_dim: int,
    drop_path: float,
) -> Architecture:
    """A published SMT: SAM, SAM, SAM/MSA in turn, MSA; four SAM heads (SMT, sec. 3.3)."""
    shares = (0.0, 0.0, 0.5, 1.0)
    rows = zip(dims, depths, mlp_ratios, shares, strict=True)
    s1, s2, s3, s4 = (
        Stage(dim=c, depth=d, mlp_ratio=r, attention_ratio=a, head_dim=head_dim if a else 32)
        for c, d, r, a in rows
    )
    return Architecture(stem=Stem(kernel=stem), stages=(s1, s2, s3, s4), drop_path=drop_path)


_SMALL, _LARGE = (64, 128, 256, 512), (96, 192, 384, 768)
PRESETS: dict[str, Architecture] = {
    "smt_t": _build_published(_SMALL, (2, 2, 8, 1), (4, 4, 4, 2), 3, 32, 0.1),
    "smt_s": _build_published(_SMALL, (3, 4, 18, 2), (4, 4, 4, 2), 3, 32, 0.2),
    "smt_b": _build_published(_SMALL, (4, 6, 28, 2), (8, 6, 4, 2), 7, 32, 0.3),
    "smt_l": _build_published(_LARGE, (4, 6, 28, 4), (8, 6, 4, 2), 7, 48, 0.4),
}
"""The published networks. `smt_l` is the one without layer scale (80,589,544 parameters);
`model_copy(update={"layer_scale": 1e-4})` gives the one of the published training configs."""


def _build_micro() -> Architecture:
    """The published pattern with every width a quarter of SMT-T's, for images of 32 px."""
    rows = zip((16, 32, 64, 128), (1, 1, 4, 1), (0.0, 0.0, 0.5, 1.0), strict=True)
    s1, s2, s3, s4 = (
        Stage(dim=c, depth=d, mlp_ratio=2.0, attention_ratio=a, head_dim=16) for c, d, a in rows
    )
    return Architecture(image_size=32, num_classes=10, stem=Stem(stride=2), stages=(s1, s2, s3, s4))


SMALL_PRESETS: dict[str, Architecture] = {"smt_micro": _build_micro()}
"""Networks of ours for small images; not published, so no baseline of any table."""


def preset(name: str) -> Architecture:
    """Look up a published network or a small one of ours. Raises UnknownName."""
    known = PRESETS | SMALL_PRESETS
    if name not in known:
        raise UnknownName("preset", name, known, "A path to a model .yaml works too.")
    return known[name]


def load_arch(spec: str | Path | Architecture) -> Architecture:
    """Resolve a preset name, a path to a model config, or an Architecture.

    Raises:
        UnknownName: neither a preset nor a path.
        ConfigError: the file cannot be read or breaks a rule of `Architecture`.
    """
    if isinstance(spec, Architecture):
        return spec
    if isinstance(spec, str) and not looks_like_path(spec):
        return preset(spec)
    return validated(Architecture, _take_schema(read_yaml(Path(spec)), str(spec)), str(spec))


def _take_schema(data: Any, where: str) -> Any:
    """What a config says, without the version that it may state. Raises ConfigError."""
    if not isinstance(data, dict) or "schema" not in data:
        return data
    version = data["schema"]
    if type(version) is not int or not 1 <= version <= SCHEMA:
        newer = type(version) is int and version > SCHEMA
        way_out = "It is of a newer smt-nas: pip install -U smt-nas." if newer else "Leave it out."
        raise ConfigError(f"{where}: schema must be from 1 to {SCHEMA} (got {version}). {way_out}")
    return {name: value for name, value in data.items() if name != "schema"}
