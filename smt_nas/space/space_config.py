"""What the YAML of a search space may say; README documents it with a commented example."""

from __future__ import annotations

import itertools
from math import prod
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from smt_nas.arch import OFFICIAL_KERNELS, Stage
from smt_nas.fingerprint import ADDED, Value


def _as_options(value: Any) -> Any:
    """One option may be written without the list."""
    return tuple(value) if isinstance(value, list) else (value,)


def _as_kernel_sets(value: Any) -> Any:
    """`[3, 5]` is one set, `[[3], [3, 5]]` are two; a set has no order."""
    if isinstance(value, list) and value and not isinstance(value[0], list):
        value = [value]
    return tuple(_as_kernels(v) for v in value) if isinstance(value, list) else value


def _as_kernels(value: Any) -> Any:
    plain = isinstance(value, list) and all(isinstance(k, int) for k in value)
    return tuple(sorted(value)) if plain else value


_AS_OPTIONS = BeforeValidator(_as_options)
Options = Field(min_length=1, max_length=64)
MAX_COMBINATIONS = 500_000  # of one stage; `costs.bounds` enumerates them in about 2 s
_Int = Annotated[int, Field(strict=True, ge=1)]
_Number = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
KernelSet = tuple[_Int, ...]
Ints = Annotated[tuple[_Int, ...], _AS_OPTIONS, Options]
Numbers = Annotated[tuple[_Number, ...], _AS_OPTIONS, Options]


class StemOptions(Value):
    """Options of the stem: any of `kernel`, one `stride`."""

    kernel: Annotated[tuple[Literal[3, 5, 7], ...], _AS_OPTIONS, Options] = (3,)
    stride: Literal[2, 4] = 4


class StageOptions(Value):
    """Options of a stage. `heads` is the number of attention heads; `head_dim` is `dim / heads`."""

    dim: Ints
    depth: Ints
    mlp_ratio: Numbers = (4.0,)
    expand_ratio: Ints = (2,)
    kernels: Annotated[tuple[KernelSet, ...], BeforeValidator(_as_kernel_sets), Options] = (
        OFFICIAL_KERNELS,
    )
    attention_ratio: Numbers = (0.0,)
    stacking: Annotated[tuple[Literal["alternate", "tail"], ...], _AS_OPTIONS, Options] = (
        "alternate",
    )
    heads: Ints = (8,)
    ffn_kernel: Annotated[tuple[Literal[3, 5], ...], _AS_OPTIONS, Options, ADDED] = (3,)

    @model_validator(mode="after")
    def _every_combination_is_a_stage(self) -> Self:
        """Check options against the rules of `Stage`, so that no sample can break one."""
        for name in type(self).model_fields:
            options = getattr(self, name)
            if any(a == b for a, b in itertools.combinations(options, 2)):
                raise ValueError(f"{name} must be distinct options (got {list(options)}).")
        combinations = prod(len(getattr(self, name)) for name in type(self).model_fields)
        if combinations > MAX_COMBINATIONS:
            raise ValueError(
                f"a stage may have at most {MAX_COMBINATIONS:,} combinations of options "
                f"(got {combinations:,}). Drop some."
            )
        self._each_option_alone()
        for dim, kernels in itertools.product(self.dim, self.kernels):
            if min(self.attention_ratio) < 1:  # else no block has kernels
                _build_stage(dim=dim, depth=1, kernels=kernels)
        for dim, heads in itertools.product(self.dim, self.heads):
            if max(self.attention_ratio) > 0 and dim % heads:
                raise ValueError(
                    f"dim must be divisible by heads (got dim={dim}, heads={heads}). "
                    "Use widths that every option divides."
                )
        for dim in self.dim:
            hidden = [
                _build_stage(dim=dim, depth=1, mlp_ratio=r, kernels=(3,)).hidden
                for r in self.mlp_ratio
            ]
            if len(set(hidden)) < len(hidden):
                raise ValueError(f"mlp_ratio options give the same width at dim={dim}.")
        return self

    def _each_option_alone(self) -> None:
        """Check options that need no other; ratios of the FFN do, and a stacking is a word."""
        plain = {"dim": 1, "depth": 1, "kernels": (3,), "head_dim": 1}
        for name in type(self).model_fields:
            if name not in Stage.model_fields or name in ("mlp_ratio", "stacking"):
                continue
            for option in getattr(self, name):
                wide = {"dim": max(1, len(option))} if name == "kernels" else {}
                _build_stage(**{**plain, **wide, name: option})


def _build_stage(**fields: Any) -> Stage:
    """Build a Stage whose complaint reads well inside another model's."""
    try:
        return Stage.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        text = first["msg"].removeprefix("Value error, ").replace("Input should", "must")
        where = ".".join(str(p) for p in first["loc"] if not isinstance(p, int))
        got = "" if "(got" in text else f" (got {first['input']!r})."
        raise ValueError(f"{where} {text}{got}".strip()) from error


class SpaceConfig(Value):
    """The YAML of a search space: what all its networks share, and options per stage."""

    description: str = ""
    image_size: int = Field(224, strict=True, ge=32, le=8192)
    num_classes: int = Field(1000, strict=True, ge=1, le=1_000_000)
    in_channels: int = Field(3, strict=True, ge=1, le=1024)
    layer_scale: Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)] | None = None
    drop_path: Annotated[float, Field(strict=True, ge=0, lt=1)] | Literal["auto"] = "auto"
    stem: StemOptions = StemOptions()
    stages: Annotated[
        tuple[StageOptions, StageOptions, StageOptions, StageOptions],
        BeforeValidator(lambda v: tuple(v) if isinstance(v, list) else v),
    ]
