"""Plain values as code, laid out as a formatter would: one entry a line, numbers in a row."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping

_WIDTH = 100  # columns of a line


def write_literal(value: object, indent: int = 0) -> str:
    """A nested value of dicts, lists, tuples, texts and numbers.

    Args:
        value: what to write.
        indent: columns before the lines after the first.
    """
    inner = " " * (indent + 4)
    if isinstance(value, Mapping) and value:
        rows = [f"{write_text(str(k))}: {write_literal(v, indent + 4)}" for k, v in value.items()]
        opening, closing = "{", "}"
    elif isinstance(value, list | tuple):
        rows = [write_literal(v, indent + 4) for v in value]
        opening, closing = "[]" if isinstance(value, list) else "()"
        comma = "," if isinstance(value, tuple) and len(rows) == 1 else ""
        row = f"{opening}{', '.join(rows)}{comma}{closing}"
        if "\n" not in row and "{" not in row and indent + len(row) < _WIDTH - 24:
            return row
    else:
        return write_text(value) if isinstance(value, str) else repr(value)
    lines = "".join(f"{inner}{row},\n" for row in rows)
    return f"{opening}\n{lines}{' ' * indent}{closing}"


def write_text(text: str) -> str:
    """A text in double quotes where that needs no escapes."""
    quoted = repr(text)
    return quoted if '"' in text else f'"{quoted[1:-1]}"'


def to_identifier(name: str) -> str:
    """A name as Python and registries take it: `a1-0` as `a1_0`, `0` as `smt_0`."""
    word = re.sub(r"\W", "_", name, flags=re.ASCII)
    return word if word[:1].isalpha() else f"smt_{word}"


def wrap_doc(lines: list[str]) -> str:
    """Lines of a docstring, broken between words, without what would end it."""
    clean = [line.replace("\\", "/").replace('"', "'") for line in lines]
    return "\n".join(part for line in clean for part in textwrap.wrap(line, _WIDTH - 4) or [""])
