"""`Sheet`: what a device can do by its data sheet, each figure with its source.

The file (`profiles/<device>.yaml`) holds cells, `{value: 2039, source: nvidia-a100}`, and a table
of `sources`; the value in memory holds plain numbers and says the source of each on request.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from smt_nas.conditions import Precision
from smt_nas.devices.names import make_key

Kind = Literal["gpu", "cpu"]
Peak = Literal["fp32", "tf32", "fp16", "bf16"]

PEAK_OF: dict[Precision, Peak] = {
    "fp32": "fp32",
    "tf32": "tf32",
    "fp16": "fp16",
    "bf16": "bf16",
    "amp-fp16": "fp16",
    "amp-bf16": "bf16",
}
PEAKS: tuple[Peak, ...] = ("fp32", "tf32", "fp16", "bf16")
FIGURES = (
    "architecture",
    "sms",
    "threads",
    "cores",
    "boost_ghz",
    "fp32_flops_per_clk",
    "tensor_flops_per_clk_per_sm",
    "peak_tflops",
    "memory_gb",
    "bandwidth_gbps",
    "l2_mb",
    "tdp_w",
    "sustained",
    "host",
    "pace",
)
OF_KIND: dict[Kind, tuple[str, ...]] = {  # cells that only one kind has
    "gpu": ("sms", "tensor_flops_per_clk_per_sm", "memory_gb"),
    "cpu": ("threads",),
}
MAY_LACK: dict[Kind, tuple[str, ...]] = {  # those of older files do
    "gpu": ("host",),
    "cpu": ("cores", "pace"),
}
HIDDEN_IF_NONE = ("cores", "pace")  # not shown where a sheet does not say them


class Sheet(BaseModel):
    """What one device can do. Peaks are dense; those of tensor cores accumulate in FP32.

    Attributes:
        key: stem of its file.
        name: as its maker calls it.
        kind: `gpu` or `cpu`.
        aliases: what it may be called instead of `key`.
        reported: names under which NVML, torch or /proc/cpuinfo report it.
        architecture: of the chip, e.g. `Ampere GA100`.
        bandwidth_gbps: of its memory, GB/s.
        sms: streaming multiprocessors; None of a CPU.
        threads: hardware threads; None of a GPU.
        boost_ghz: the clock at which the peak of matrix products holds.
        cores: of a CPU, where threads share them; None: each thread has its own, or it is a GPU.
        fp32_flops_per_clk: outside tensor cores, per SM of a GPU or per core of a CPU.
        tensor_flops_per_clk_per_sm: dense FP16 with FP32 accumulation; None of a CPU.
        peak_tflops: by number format; a format that is not there cannot be used.
        memory_gb: as sold (10^9 bytes); None of a CPU.
        l2_mb: last cache before the memory, MiB.
        tdp_w: power limit as sold.
        sustained: share of the FP32 peak that a long dense matrix product keeps; None: not known.
        host: class of `profiles/hosts.yaml` of the machines it is usually found in; None of a CPU,
            and where it is not known.
        warnings: what a reader of its predictions must know.
        sources: where each figure comes from, by field (`peak_tflops.fp16` for a peak).
        notes: what must be known of a figure, or why there is none, by field.
        pace: truth over prediction, where networks were measured on such a device.
        probed: made from what the machine says of itself, not from a data sheet.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    name: str
    kind: Kind
    bandwidth_gbps: Annotated[float, Field(gt=0)]
    peak_tflops: dict[Peak, Annotated[float, Field(gt=0)]]
    aliases: tuple[str, ...] = ()
    reported: tuple[str, ...] = ()
    architecture: str | None = None
    sms: Annotated[int, Field(ge=1)] | None = None
    threads: Annotated[int, Field(ge=1)] | None = None
    cores: Annotated[int, Field(ge=1)] | None = None
    boost_ghz: Annotated[float, Field(gt=0)] | None = None
    fp32_flops_per_clk: Annotated[int, Field(ge=1)] | None = None
    tensor_flops_per_clk_per_sm: Annotated[int, Field(ge=1)] | None = None
    memory_gb: Annotated[float, Field(gt=0)] | None = None
    l2_mb: Annotated[float, Field(gt=0)] | None = None
    tdp_w: Annotated[float, Field(gt=0)] | None = None
    sustained: Annotated[float, Field(gt=0, le=1)] | None = None
    host: str | None = None
    warnings: tuple[str, ...] = ()
    sources: Mapping[str, str] = Field(default_factory=dict, repr=False)
    notes: Mapping[str, str] = Field(default_factory=dict, repr=False)
    pace: Annotated[float, Field(gt=0)] | None = None
    probed: bool = False

    def peak(self, precision: Precision) -> float | None:
        """Peak of a precision in TFLOPS (2 per multiply-accumulate); None: it cannot."""
        return self.peak_tflops.get(PEAK_OF[precision])

    @property
    def units(self) -> int:
        """What computes apart from each other: SMs of a GPU, cores of a CPU."""
        return self.sms or self.cores or self.threads or 1

    @property
    def table_keys(self) -> tuple[str, ...]:
        """Under which its measured tables may lie.

        The sheet's own, and the keys it was probed under before there was a sheet of it.
        """
        size = f"{self.threads}cpu" if self.kind == "cpu" else ""
        probed = (make_key(name, size) for name in self.reported)
        return tuple(dict.fromkeys((self.key, *probed)))

    @property
    def names(self) -> tuple[str, ...]:
        """Everything it answers to."""
        return (self.key, *self.aliases)

    @property
    def short(self) -> str:
        """The shortest of its names, none that a budget (`5ms@NAME:b1`) reads as a batch."""
        return min((n for n in self.names if not re.fullmatch(r"b[0-9]+", n)), key=len)

    def source(self, field: str) -> str:
        """Where a figure comes from, with its note."""
        text = self.sources.get(field, "no source given")
        return f"{self.notes[field]} [{text}]" if field in self.notes else text

    def cells(self) -> Iterator[tuple[str, float | str | None]]:
        """Field and value of every figure that its kind has, peaks one by one."""
        cells = {kind: {*OF_KIND[kind], *MAY_LACK[kind]} for kind in OF_KIND}
        other = {f for kind, fields in cells.items() if kind != self.kind for f in fields}
        for field in FIGURES:
            if field == "peak_tflops":
                for peak in PEAKS:
                    name = f"peak_tflops.{peak}"
                    yield name, self.peak_tflops.get(peak)
            elif field not in other and not (
                field in HIDDEN_IF_NONE and getattr(self, field) is None
            ):
                yield field, getattr(self, field)


class Cell(BaseModel):
    """One figure in a file: its value, or null; its source, or why it is null."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: int | float | str | None
    source: str
    note: str | None = None


class Peaks(BaseModel):
    """The cells of `peak_tflops`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fp32: Cell
    tf32: Cell
    fp16: Cell
    bf16: Cell


class SheetFile(BaseModel):
    """A sheet as it is written down."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    kind: Kind
    aliases: tuple[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,39}$")], ...] = ()
    reported: tuple[str, ...] = ()
    architecture: Cell
    sms: Cell | None = None
    threads: Cell | None = None
    cores: Cell | None = None
    boost_ghz: Cell
    fp32_flops_per_clk: Cell
    tensor_flops_per_clk_per_sm: Cell | None = None
    peak_tflops: Peaks
    memory_gb: Cell | None = None
    bandwidth_gbps: Cell
    l2_mb: Cell
    tdp_w: Cell
    sustained: Cell
    host: Cell | None = None
    pace: Cell | None = None
    warnings: tuple[str, ...] = ()
    sources: dict[str, str]

    @model_validator(mode="after")
    def _cells_are_there(self) -> Self:
        for field in OF_KIND[self.kind]:
            if getattr(self, field) is None:
                raise ValueError(f"{field} is missing: a {self.kind} has one. Add it.")
        for field, cell in self._cells():
            if cell.source not in self.sources:
                raise ValueError(
                    f"{field}: source must be a key of `sources` (got {cell.source!r}). "
                    f"Known: {', '.join(sorted(self.sources))}."
                )
        return self

    def _cells(self) -> Iterator[tuple[str, Cell]]:
        for field in FIGURES:
            value = getattr(self, field)
            if isinstance(value, Peaks):
                yield from ((f"{field}.{p}", getattr(value, p)) for p in PEAKS)
            elif value is not None:
                yield field, value

    def unwrap(self, key: str) -> dict[str, Any]:
        """The fields of its `Sheet`: values without their cells, sources spelt out."""
        peaks = {p: getattr(self.peak_tflops, p).value for p in PEAKS}
        fields = {f: getattr(self, f) for f in FIGURES if f != "peak_tflops"}
        return {
            "key": key,
            "name": self.name,
            "kind": self.kind,
            "aliases": self.aliases,
            "reported": self.reported,
            "warnings": self.warnings,
            "peak_tflops": {p: v for p, v in peaks.items() if v is not None},
            "sources": {field: self.sources[cell.source] for field, cell in self._cells()},
            "notes": {field: cell.note for field, cell in self._cells() if cell.note},
            **{field: cell.value for field, cell in fields.items() if cell is not None},
        }
