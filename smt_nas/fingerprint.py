"""What things are known by: `fingerprint`, and values whose fingerprint survives growth.

Keys of networks and digests of spaces are stored beside measurements and trainings, so they must
not change when the family gets a new field. A field that was added after schema 1 is marked with
`ADDED`; while it stands at its default it is left out of every dump, and so of every fingerprint
and every file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache, cached_property
from typing import Any, Final, Self

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

ADDED: Final = "added after schema 1"
"""Marks a field in its `Annotated`; such a field must have a default that changes nothing."""


def fingerprint(value: str | bytes | Mapping[str, Any]) -> str:
    """12 hex digits of a text, of bytes, or of plain values in whatever order."""
    if isinstance(value, Mapping):
        value = json.dumps(value, sort_keys=True)
    data = value.encode() if isinstance(value, str) else value
    return hashlib.sha256(data).hexdigest()[:12]


class Value(BaseModel):
    """A frozen value whose unknown fields are errors, and whose added fields show when they act."""

    model_config = ConfigDict(frozen=True, extra="forbid", ignored_types=(cached_property,))

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Copy with fields replaced; what was derived from the old ones is left behind."""
        copied = super().model_copy(update=update, deep=deep)
        for name in copied.__dict__.keys() - type(self).model_fields.keys():
            del copied.__dict__[name]
        return copied

    @model_serializer(mode="wrap")
    def _without_neutral_fields(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = handler(self)
        for name, default in added_fields(type(self)).items():
            if getattr(self, name) == default:
                values.pop(name, None)
        return values


@cache
def added_fields(model: type[BaseModel]) -> dict[str, Any]:
    """The fields of a model that were added after schema 1, each with its default."""
    return {n: info.default for n, info in model.model_fields.items() if ADDED in info.metadata}
