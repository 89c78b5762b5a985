"""The contract of exports: a network in, files out, and the files are loaded back and compared.

An exporter is a row of `smt_nas.export.EXPORTERS`. Its file says what the format is and what it
cannot express, and imports what it needs when it is used: looking at the table loads no torch.
`checked_export` does what all formats have in common.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from smt_nas.arch import Architecture
from smt_nas.export.manifest import Manifest, Measure

if TYPE_CHECKING:
    from torch import Tensor

    from smt_nas.export.source import ExportSource

Dynamic = Literal["dynamic"]
Precision = Literal["fp32", "fp16", "bf16"]
Axis = Literal["batch", "image_size"]


@dataclass(frozen=True)
class ExportOptions:
    """What is asked of an export, beside the network.

    Attributes:
        name: of the network, and of the files without their suffixes.
        image_size: pixels of a side; `dynamic` for any; None for the network's own.
        batch: images a call takes; `dynamic` for any number; None for what the format usually has:
            any number where it can.
        precision: of weights and computing.
        calibration: folder of images that a quantisation is fitted to; None for none.
    """

    name: str = "smt"
    image_size: int | Dynamic | None = None
    batch: int | Dynamic | None = None
    precision: Precision = "fp32"
    calibration: Path | None = None


class Exporter(Protocol):
    """Writes a network into a folder that is there, and empty."""

    def __call__(self, source: ExportSource, folder: Path, options: ExportOptions) -> Manifest:
        """Write the files, each called `options.name` and a suffix where the format lets it.

        `options` were checked against the entry; `source.arch` has the image size they ask for.

        Raises:
            ExportError: the format cannot express the network; says why.
            OSError: the folder cannot be written.
        """


@dataclass(frozen=True)
class ExporterEntry:
    """A row of EXPORTERS.

    Attributes:
        export: writes the files.
        help: what the format is, in a few words for `--help`.
        suffix: of the file that a user opens; empty where the format is a folder of files.
        is_text: it is one short text file, which may go to standard output.
        read_back: of a config: the network that the files say, in what the format keeps of it.
        load_back: of what computes: a function of images (B, C, H, W), fp32 on the CPU, to what
            the files compute of them: logits (B, classes), or what `reference` returns.
        reference: what the files are compared with, where that is not the network's logits.
        extra: of `pip install 'smt-nas[EXTRA]'` that it needs; empty for none.
        modules: of that extra, which must be there.
        holds_weights: the files hold the network's weights.
        dynamic: axes that may be dynamic; None where the files are of no shape at all.
        precisions: that it can be written in.
        calibrates: it can be fitted to images.
        tolerance: what outputs may differ by, in fp32.
        measure: how they are compared.
        not_run_here: why files can be written on this machine but not run; empty where they can.
    """

    export: Exporter
    help: str
    suffix: str = ""
    is_text: bool = False
    read_back: Callable[[Manifest], Architecture] | None = None
    load_back: Callable[[Manifest], Callable[[Tensor], Tensor | Sequence[Tensor]]] | None = None
    reference: Callable[[ExportSource], Callable[[Tensor], Tensor | Sequence[Tensor]]] | None = None
    extra: str = ""
    modules: tuple[str, ...] = ()
    holds_weights: bool = True
    dynamic: tuple[Axis, ...] | None = None
    precisions: tuple[Precision, ...] = ("fp32",)
    calibrates: bool = False
    tolerance: float = 1e-4
    measure: Measure = "largest"
    not_run_here: Callable[[], str] | None = None
