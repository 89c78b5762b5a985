"""An architecture as the cells of a table, a column a field of each stage; no space is needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from smt_nas.arch import Architecture, Stage
from smt_nas.fingerprint import added_fields
from smt_nas.yaml import validated


def _columns(fields: list[str]) -> list[str]:
    return [f"stage{i}.{field}" for i in range(1, 5) for field in fields]


def _format(value: Any) -> str:
    """The shortest text that reads as the same value; a set of kernels with blanks between."""
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    return str(value)


GENES = (
    "stem.kernel",
    *_columns([field for field in Stage.model_fields if field not in added_fields(Stage)]),
)
"""The columns that every table has."""

ADDED_GENES = {
    column: _format(default)
    for field, default in added_fields(Stage).items()
    for column in _columns([field])
}
"""Columns of fields that were added later, with the cell of their default; a table has one where
some network of it differs from that."""


class Input(BaseModel):
    """What all networks of a bench share."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image_size: int
    num_classes: int
    in_channels: int
    stem_stride: int
    layer_scale: float | None = None


def encode_arch(arch: Architecture) -> dict[str, str]:
    """Cells of an architecture, by GENES and ADDED_GENES; empty where a field has no effect."""
    cells = {"stem.kernel": _format(arch.stem.kernel)}
    for i, stage in enumerate(arch.stages, 1):
        for field in Stage.model_fields:
            value = getattr(stage, field)
            cells[f"stage{i}.{field}"] = _format(value) if stage.acts(field) else ""
    return cells


def decode_arch(cells: Mapping[str, str], common: Input) -> Architecture:
    """The architecture that `encode_arch` put into cells. Raises ConfigError."""
    stages = [
        {
            field: _parse(field, text)
            for field in Stage.model_fields
            if (text := cells.get(f"stage{i}.{field}"))
        }
        for i in range(1, 5)
    ]
    values = {
        "image_size": common.image_size,
        "num_classes": common.num_classes,
        "in_channels": common.in_channels,
        "stem": {"kernel": _number(cells["stem.kernel"]), "stride": common.stem_stride},
        "layer_scale": common.layer_scale,
        "stages": stages,
    }
    return validated(Architecture, values, "network")


def _parse(field: str, text: str) -> Any:
    """A cell as a value of a stage's field; what cannot be one is left to `Architecture`."""
    if isinstance(Stage.model_fields[field].default, tuple):
        return tuple(_number(word) for word in text.split())
    return _number(text)


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
