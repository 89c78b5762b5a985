"""YAML: values are read with limits, checked by pydantic, and refused in one line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from smt_nas.errors import ConfigError, did_you_mean

MAX_YAML_BYTES = 1_000_000  # a model or space config is a few kB; anything larger is a mistake

_Model = TypeVar("_Model", bound=BaseModel)


class _UniqueKeyLoader(yaml.SafeLoader):
    """PyYAML's safe loader, which refuses a key that stands twice in one mapping."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str | int | float | bool | None):
                raise yaml.YAMLError(f"line {key_node.start_mark.line + 1}: a key must be a word")
            if key in seen:
                line = key_node.start_mark.line + 1
                raise yaml.YAMLError(f"line {line}: key {key!r} stands twice")
            seen.add(key)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read one YAML mapping.

    Raises:
        ConfigError: not a readable file, larger than 1 MB, not UTF-8, not valid YAML, a key that
            stands twice, or not a mapping.
    """
    try:
        if path.is_dir():
            raise ConfigError(f"{path}: must be a YAML file (got a directory). Name a file in it.")
        size = path.stat().st_size
        if size > MAX_YAML_BYTES:
            raise ConfigError(
                f"{path}: a config is at most 1 MB (got {size / 1e6:.1f} MB). Name a config file."
            )
        with path.open("rb") as file:
            text = file.read(MAX_YAML_BYTES + 1).decode("utf-8")
        data = yaml.load(text, Loader=_UniqueKeyLoader)  # a SafeLoader: builds plain values only
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}). Check the path.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: must be UTF-8 text (got byte {error.start}).") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: is nested too deeply to be a config.") from error
    except (
        yaml.YAMLError,
        ValueError,
        KeyError,
        AttributeError,
    ) as error:  # also of PyYAML's casts
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path}: is not valid YAML ({reason}). Mend that line.") from error
    if not isinstance(data, dict):
        kind = "nothing" if data is None else type(data).__name__
        raise ConfigError(f"{path}: must hold `field: value` lines (got {kind}).")
    return data


def validated(model: type[_Model], data: Any, where: str) -> _Model:
    """Build a pydantic model, with its first complaint told in one line.

    Raises:
        ConfigError: `<where>: <field> <rule> (got <value>).`
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise ConfigError(f"{where}: {_complaint(error, model)}") from error


def _complaint(error: ValidationError, model: type[BaseModel]) -> str:
    """One line for the first of pydantic's complaints, with the number of others."""
    # a misspelt field is missing under its own name too: the misspelling is what to tell
    complaints = error.errors(include_url=False)
    first, *others = sorted(complaints, key=lambda e: e["type"] != "extra_forbidden")
    field = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in first["loc"]).lstrip(".")
    if first["type"] == "extra_forbidden":
        word = str(first["loc"][-1])
        text = f"{field} is not a known field. {did_you_mean(word, _field_names(model))}".rstrip()
    elif first["type"] == "missing":
        text = f"{field} is missing. Add it."
    elif first["type"] == "value_error":
        text = f"{field}{': ' if field else ''}{first['msg'].removeprefix('Value error, ')}"
    else:
        rule = first["msg"].replace("Input should be", "must be")
        text = f"{field} {rule} (got {_short(first['input'])})."
    return text + (f" {len(others)} more such." if others else "")


def _short(value: Any) -> str:
    """Show a value in at most 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _field_names(model: type[BaseModel]) -> Iterator[str]:
    """Field names of a model and of the models nested in it."""
    for name, info in model.model_fields.items():
        yield name
        nested = [info.annotation, *getattr(info.annotation, "__args__", ())]
        for kind in nested:
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from _field_names(kind)


def to_yaml(data: Any) -> str:
    """Dump plain values as YAML: fields in order, short lists on one line."""
    return yaml.safe_dump(data, sort_keys=False, default_flow_style=None, width=100)
