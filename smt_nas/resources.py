"""Files: where shipped data lives, how YAML is read, how a file is replaced.

A name is looked up in this order: the user's own path, the data shipped inside the package
(`smt_nas/_shipped/`, filled when the wheel is built), the top-level folders of a checkout.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from smt_nas.errors import ConfigError, StoreError, UnknownName, did_you_mean

MAX_YAML_BYTES = 1_000_000  # a model or space config is a few kB; anything larger is a mistake

_PACKAGE = Path(__file__).resolve().parent
_ROOTS = (_PACKAGE / "_shipped", _PACKAGE.parent, _PACKAGE)
_Model = TypeVar("_Model", bound=BaseModel)


def names(folder: str) -> list[str]:
    """Names of the YAML files shipped in `folder` (`"search_spaces"`, `"profiles"`), sorted."""
    return sorted({p.stem for root in _ROOTS for p in (root / folder).glob("*.yaml")})


def folders(folder: str) -> list[Path]:
    """Where the files of `folder` may lie: shipped with the package, and in a checkout."""
    return [root / folder for root in _ROOTS]


def find_yaml(folder: str, name_or_path: str | Path, kind: str) -> Path:
    """Resolve a shipped name or a user's path to a YAML file.

    Anything that ends in `.yaml`/`.yml`, or holds a path separator, is a path.

    Raises:
        UnknownName: no file of that name is shipped; `kind` is the noun used in the message.
    """
    text = str(name_or_path)
    if looks_like_path(text):
        return Path(text)
    for root in _ROOTS:
        shipped = root / folder / f"{text}.yaml"
        if shipped.is_file():
            return shipped
    raise UnknownName(kind, text, names(folder), "A path to your own .yaml works too.")


def looks_like_path(text: str) -> bool:
    """Tell a path from a plain name: a YAML suffix or a path separator."""
    return text.endswith((".yaml", ".yml")) or os.sep in text


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
    found = error.errors(include_url=False)
    first, *others = sorted(found, key=lambda e: e["type"] != "extra_forbidden")
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


@contextlib.contextmanager
def working_directory() -> Iterator[None]:
    """Let modules of the working directory be imported, as `python -m` does."""
    here = os.getcwd()
    if here in sys.path:
        yield
        return
    sys.path.insert(0, here)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # the user's code may have removed it
            sys.path.remove(here)


def check_writable(path: Path | None, flag: str) -> None:
    """Find out before long work that a result could not be written after it.

    Raises:
        StoreError: the folder is not there, is read-only, or `path` is a folder.
    """
    if path is None:
        return
    folder = path.parent
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        why = "is a folder" if path.is_dir() else f"{folder} cannot be written"
        raise StoreError(
            f"{flag} {path}: must be a file in a folder of yours ({why}). Name another."
        )


def make_folder(folder: Path, way_out: str) -> None:
    """Make a folder and those above it. Raises StoreError, with the way out of a refusal."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"{folder}: cannot be made a folder ({error.strerror}). {way_out}"
        ) from error


@contextlib.contextmanager
def locked(folder: Path, way_out: str) -> Iterator[None]:
    """Hold a folder for writing, by its `.lock`; the lock goes with the process, however it ends.

    Args:
        folder: it is there.
        way_out: of a folder that cannot be written.

    Raises:
        StoreError: another process holds it, or it is read-only.
    """
    import filelock

    lock = filelock.FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        raise StoreError(
            f"{folder}: another process is working in it. Wait for it, or choose another --out."
        ) from error
    except OSError as error:
        raise StoreError(f"{folder}: cannot be written ({error.strerror}). {way_out}") from error
    try:
        yield
    finally:
        lock.release()


def write_atomic(path: Path, content: str | bytes) -> None:
    """Replace what is in `path`: temporary file beside it, fsync, rename.

    Either the old or the new content is there, whenever the process dies.

    Raises:
        StoreError: the disk is full, or the folder cannot be written; the old file is kept.
    """
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp makes 0600; results are for colleagues too
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        raise StoreError(
            f"{path}: cannot be written ({error.strerror}). Free some space or choose another "
            "folder; what was there before is kept."
        ) from error
