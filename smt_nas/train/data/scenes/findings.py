"""`Findings`: what of a data set is not as it should be, counted and named."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from smt_nas.errors import list_names

_SHOWN = 3  # names of a kind


@dataclass
class Findings:
    """Kinds of things found while a data set is read, each with the names of those it is true of.

    Attributes:
        names: by kind, which is a sentence's end: `not on disk, left out`.
        nouns: what is counted, by kind.
    """

    names: dict[str, list[str]] = field(default_factory=dict)
    nouns: dict[str, str] = field(default_factory=dict)

    def add(self, noun: str, kind: str, name: str) -> None:
        """Count one more of a kind."""
        self.nouns[kind] = noun
        self.names.setdefault(kind, []).append(name)

    def count(self, kind: str) -> int:
        """How many of a kind there are."""
        return len(self.names.get(kind, ()))

    def lines(self, where: str) -> Iterator[str]:
        """A line a kind, for the user."""
        for kind, names in self.names.items():
            noun = self.nouns[kind]
            many = noun if len(names) == 1 else f"{noun}s"
            yield f"{where}: {len(names):,} {many} {kind}: {list_names(names, _SHOWN)}."
