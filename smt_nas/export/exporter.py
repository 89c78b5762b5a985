"""The contract of exports: a network in, files out, and the files can be read back.

An exporter is a row of `smt_nas.export.EXPORTERS`. Its file says what the format is and what it
cannot express; the contract test exports through every row and compares what is read back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from smt_nas.arch import Architecture


@dataclass(frozen=True)
class ExportOptions:
    """What is asked of an export, beside the network.

    Attributes:
        name: of the network, and of the files without their suffixes.
    """

    name: str = "smt"


@dataclass(frozen=True)
class Manifest:
    """What an export wrote.

    Attributes:
        format: of EXPORTERS.
        files: the first is the one that a user opens.
        notes: what whoever takes the files must know, a sentence each.
    """

    format: str
    files: tuple[Path, ...]
    notes: tuple[str, ...] = field(default=())


class Exporter(Protocol):
    """Writes a network into a folder that is there."""

    def __call__(self, arch: Architecture, folder: Path, options: ExportOptions) -> Manifest:
        """Write the files.

        Raises:
            ExportError: the format cannot express the network; says why.
            StoreError: the folder cannot be written.
        """


@dataclass(frozen=True)
class ExporterEntry:
    """A row of EXPORTERS.

    Attributes:
        export: writes the files.
        read_back: the network that the files say, in what the format keeps of it.
        help: what the format is, in a few words for `--help`.
        is_text: it is one short text file, which may go to standard output.
    """

    export: Exporter
    read_back: Callable[[Manifest], Architecture]
    help: str
    is_text: bool = False
