"""YAML: values are read with limits, checked by pydantic, and refused in one line.

PyYAML speaks YAML 1.1, in which `1e-4` is text, as it has no dot. Here it is a number, as in YAML
1.2 and JSON, in every file; and a text that reads like one is written in quotes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from smt_nas.errors import ConfigError, did_you_mean

MAX_YAML_BYTES = 1_000_000  # a model or space config is a few kB; anything larger is a mistake

_Model = TypeVar("_Model", bound=BaseModel)


_FLOAT = "tag:yaml.org,2002:float"
_EXPONENT = re.compile(r"[-+]?([0-9]{1,7}|[0-9]*\.[0-9]+|[0-9]+\.)[eE][-+]?[0-9]{1,3}\Z")
"""Numbers with an exponent: https://yaml.org/spec/1.2.2/#10214-floating-point. Without a dot they
have at most 7 digits before it, so that no key of a network (12 hex digits, which older files hold
without quotes) is one."""


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, with more numbers; refuses a key that stands twice in one mapping."""

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


class _Dumper(yaml.SafeDumper):
    """PyYAML's safe dumper, which quotes texts that `_Loader` would read as numbers."""


for _kind in (_Loader, _Dumper):
    _kind.add_implicit_resolver(_FLOAT, _EXPONENT, list("-+.0123456789"))


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
        data = yaml.load(text, Loader=_Loader)  # a SafeLoader: builds plain values only
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


def parse_value(text: str) -> Any:
    """One value as it would stand in a file. Raises ValueError: it is no YAML."""
    try:
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, KeyError, AttributeError) as error:
        raise ValueError(" ".join(str(error).split())) from error


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
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, default_flow_style=None, width=100)
