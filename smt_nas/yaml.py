"""YAML: values are read with limits, checked by pydantic, and refused in one line.

PyYAML speaks YAML 1.1, in which `1e-4` is text, as it has no dot. Here it is a number, as in YAML
1.2 and JSON, in every file; and a text that reads like one is written in quotes.
"""

from __future__ import annotations

import difflib
import functools
import math
import re
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from smt_nas.errors import ConfigError, did_you_mean, list_names

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

MAX_YAML_BYTES = 1_000_000  # a model or space config is a few kB; anything larger is a mistake

_Model = TypeVar("_Model", bound=BaseModel)


_FLOAT = "tag:yaml.org,2002:float"
_EXPONENT = re.compile(r"[-+]?([0-9]{1,7}|[0-9]*\.[0-9]+|[0-9]+\.)[eE][-+]?[0-9]{1,3}\Z")
"""Numbers with an exponent: https://yaml.org/spec/1.2.2/#10214-floating-point. Without a dot they
have at most 7 digits before it, so that no key of a network (12 hex digits, which older files hold
without quotes) is one."""


def _add_exponents(resolvers: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """PyYAML's table of what plain words stand for, by their first character, with `_EXPONENT`."""
    return resolvers | {c: [*resolvers.get(c, ()), (_FLOAT, _EXPONENT)] for c in "-+.0123456789"}


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, with more numbers; refuses a key that stands twice in one mapping."""

    yaml_implicit_resolvers = _add_exponents(yaml.SafeLoader.yaml_implicit_resolvers)

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


if TYPE_CHECKING:
    from yaml import SafeDumper
else:  # libyaml writes the same in a fifth of the time; PyYAML may be built without it
    SafeDumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Dumper(SafeDumper):
    """PyYAML's safe dumper, which quotes texts that `_Loader` would read as numbers."""

    yaml_implicit_resolvers = _add_exponents(yaml.SafeDumper.yaml_implicit_resolvers)

    def represent_data(self, data: Any) -> yaml.Node:
        """As PyYAML does; a plain value at once, as no alias is ever made of one."""
        if type(data) not in _PLAIN:
            return super().represent_data(data)
        self.alias_key = None
        return self.yaml_representers[type(data)](self, data)

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: bool | tuple[bool, bool]) -> str:
        """As PyYAML does; a front of thousands of networks holds the same words and numbers."""
        if kind is yaml.ScalarNode and isinstance(value, str) and isinstance(implicit, tuple):
            return _resolve_scalar(value, implicit)
        tag: str = super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]
        return tag


_PLAIN = (bool, int, float, str)


class _Resolver(yaml.resolver.BaseResolver):
    """What a plain word stands for in what `_Dumper` writes."""

    yaml_implicit_resolvers = _Dumper.yaml_implicit_resolvers


@functools.lru_cache(maxsize=10_000)
def _resolve_scalar(value: str, implicit: tuple[bool, bool]) -> str:
    tag: str = _Resolver().resolve(yaml.ScalarNode, value, implicit)  # type: ignore[no-untyped-call]
    return tag


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
        text = f"{field} is not a known field. {suggest_field(model, first['loc'])}"
    elif first["type"] == "missing":
        text = f"{field} is missing. Add it."
    elif first["type"] == "value_error":
        text = f"{field}{': ' if field else ''}{first['msg'].removeprefix('Value error, ')}"
    else:
        rule = first["msg"].replace("Input should be", "must be")
        text = f"{field} {rule} (got {_short(first['input'])}).{_suggest_integers(first)}"
    return text + (f" {len(others)} more such." if others else "")


def _suggest_integers(complaint: ErrorDetails) -> str:
    """Those about a number that should be one."""
    value = complaint["input"]
    if not complaint["type"].startswith("int") or not isinstance(value, float):
        return ""
    if not math.isfinite(value):
        return ""
    near = dict.fromkeys((math.floor(value), math.ceil(value)))
    return f" Use {' or '.join(map(str, near))}."


def _short(value: Any) -> str:
    """Show a value in at most 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def suggest_field(model: type[BaseModel], place: Sequence[str | int]) -> str:
    """What may be meant by a field that a model does not have.

    Args:
        model: the outermost.
        place: the names that lead to the field, its own last; numbers are places in lists.
    """
    *around, word = [part for part in place if isinstance(part, str)]
    inner = model
    for name in around:
        info = inner.model_fields.get(name)
        nested = [] if info is None else _find_models(info.annotation)
        inner = nested[0] if nested else inner
    siblings = list(inner.model_fields)
    same = difflib.get_close_matches(word, siblings, n=1, cutoff=0.85)  # a letter or two off
    if same:
        return f"Did you mean {same[0]!r}?"
    elsewhere = [name for name in list_fields(model) if name.rpartition(".")[2] == word]
    if elsewhere:
        return f"Did you mean {' or '.join(map(repr, elsewhere))}?"
    return did_you_mean(word, siblings) or f"Known: {list_names(siblings, 8)}."


def list_fields(model: type[BaseModel]) -> Iterator[str]:
    """Every field of a model and of the models in it: `stages[].dim`."""
    for name, info in model.model_fields.items():
        yield name
        for nested in _find_models(info.annotation):
            many = typing.get_origin(info.annotation) in (tuple, list)
            for inner in list_fields(nested):
                yield f"{name}{'[]' * many}.{inner}"


def _find_models(annotation: Any) -> list[type[BaseModel]]:
    """The models in an annotation, e.g. of `Stage | None`, `tuple[Stage, Stage]`; each once."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    inner = (m for a in typing.get_args(annotation) for m in _find_models(a))
    return list(dict.fromkeys(inner))


def to_yaml(data: Any) -> str:
    """Dump plain values as YAML: fields in order, short lists on one line."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, default_flow_style=None, width=100)
