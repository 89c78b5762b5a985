"""An architecture as the cells of a table: the words of a search space's YAML, no space needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from smt_nas.arch import Architecture
from smt_nas.yaml import validated

_STAGE = ("dim", "depth", "mlp_ratio", "expand_ratio", "kernels", "attention_ratio", "stacking")
GENES = (
    "stem.kernel",
    *(f"stage{i}.{field}" for i in range(1, 5) for field in (*_STAGE, "head_dim")),
)


class Input(BaseModel):
    """What all networks of a bench share."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image_size: int
    num_classes: int
    in_channels: int
    stem_stride: int
    layer_scale: float | None = None


def genes(arch: Architecture) -> dict[str, str]:
    """An architecture in words, by GENES; empty where a field has no effect."""
    words = {"stem.kernel": str(arch.stem.kernel)}
    for i, stage in enumerate(arch.stages, 1):
        sam, msa = "sam" in stage.mixers, "msa" in stage.mixers
        words |= {
            f"stage{i}.dim": str(stage.dim),
            f"stage{i}.depth": str(stage.depth),
            f"stage{i}.mlp_ratio": _number(stage.mlp_ratio),
            f"stage{i}.expand_ratio": str(stage.expand_ratio) if sam else "",
            f"stage{i}.kernels": " ".join(map(str, stage.kernels)) if sam else "",
            f"stage{i}.attention_ratio": _number(stage.attention_ratio),
            f"stage{i}.stacking": stage.stacking,
            f"stage{i}.head_dim": str(stage.head_dim) if msa else "",
        }
    return words


def _number(value: float) -> str:
    """The shortest text that reads as the same number."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def architecture(words: Mapping[str, str], common: Input) -> Architecture:
    """The architecture that `genes` put into words. Raises ConfigError."""
    stages = []
    for i in range(1, 5):
        fields: dict[str, Any] = {}
        for field in (*_STAGE, "head_dim"):
            if text := words[f"stage{i}.{field}"]:
                fields[field] = _READ[field](text)
        stages.append(fields)
    values = {
        "image_size": common.image_size,
        "num_classes": common.num_classes,
        "in_channels": common.in_channels,
        "stem": {"kernel": int(words["stem.kernel"]), "stride": common.stem_stride},
        "layer_scale": common.layer_scale,
        "stages": stages,
    }
    return validated(Architecture, values, "network")


_READ: dict[str, Any] = {
    "dim": int,
    "depth": int,
    "mlp_ratio": float,
    "expand_ratio": int,
    "kernels": lambda text: tuple(int(k) for k in text.split()),
    "attention_ratio": float,
    "stacking": str,
    "head_dim": int,
}
