"""The errors a user can meet.

    SmtNasError
    ├── ConfigError        a YAML file or a flag holds a value that is not allowed
    │   └── UnknownName    a name that is not in a table; carries "did you mean"
    ├── SpaceError         genes or an architecture do not belong to a search space
    ├── MeasurementError   this machine cannot measure or predict what was asked
    ├── StoreError         a run directory or its study cannot be used
    ├── TrainingError      a training cannot start or go on: its data, its processes, its numbers
    └── ExportError        a network cannot be expressed in the format asked for

Every message reads `<where>: <rule> (got <value>). <way out>`. The command line prints it and
exits 1.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class SmtNasError(Exception):
    """Base of all errors that are the user's to mend."""


class ConfigError(SmtNasError):
    """A YAML file or a flag holds a value that is not allowed."""


class UnknownName(ConfigError):
    """A name that is not in a table.

    Args:
        kind: what was looked up, e.g. `"search space"`.
        name: what the user wrote.
        known: what there is.
        way_out: one more sentence, where a name is not the only thing allowed.
        also: further names that are understood: too many to list, but one may be meant.
    """

    def __init__(
        self,
        kind: str,
        name: str,
        known: Iterable[str],
        way_out: str = "",
        also: Iterable[str] = (),
    ) -> None:
        known = sorted(known)
        parts = [f"No {kind} named {name!r}.", f"Known: {', '.join(known)}."]
        parts += [way_out, did_you_mean(name, [*known, *also])]
        super().__init__(" ".join(part for part in parts if part))


class SpaceError(SmtNasError):
    """Genes or an architecture do not belong to a search space."""


class MeasurementError(SmtNasError):
    """This machine cannot measure or predict what was asked."""


class StoreError(SmtNasError):
    """A run directory or its study cannot be used."""


class TrainingError(SmtNasError):
    """A training cannot start or go on: its data, its processes, its numbers."""


class ExportError(SmtNasError):
    """A network cannot be expressed in the format asked for."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `Did you mean 'x'?` for the nearest of `known`, or `""` where none is near."""
    by_folded = {k.casefold(): k for k in known}
    near = difflib.get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.6)
    return f"Did you mean {by_folded[near[0]]!r}?" if near else ""


def one_line(error: BaseException) -> str:
    """An exception in one line of at most 200 characters."""
    text = " ".join(str(error).split())
    text = text if len(text) <= 200 else text[:197] + "..."
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def list_names(names: Sequence[str], most: int = 5) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def format_count(number: int, noun: str, form: str = ",") -> str:
    """`1 network`, `20,000 networks`, `2 processes`; the form is of the number."""
    ending = "es" if noun.endswith("s") else "s"
    return f"{number:{form}} {noun}{ending * (number != 1)}"
