"""CPU families: what the numbers in /proc/cpuinfo say of a CPU's cores and memory.

The table is `profiles/cpu_families.yaml`. It knows of what the instruction sets do not tell: how
wide the units behind AVX-512 are, whether there is AMX, how many channels of memory a socket has.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Annotated, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from smt_nas.errors import ConfigError
from smt_nas.files import folders
from smt_nas.runtime.host import Host
from smt_nas.yaml import read_yaml, validated

FILE = "cpu_families.yaml"
_NUMBERS = re.compile(r"(?P<vendor>\S+) family (?P<family>[0-9]+) model (?P<model>[0-9]+)")
_BYTES = 8  # of a transfer of one channel


class CpuFamily(BaseModel):
    """What the CPUs of one family have in common.

    Attributes:
        name: as people know it, e.g. `EPYC 7003 (Milan)`.
        architecture: of its cores.
        vendor, family, models: as /proc/cpuinfo numbers them; ranges of models, ends included.
        word: that stands in the name of its CPUs, as a pattern; None for any.
        fp32_flops_per_clk: dense, of one core.
        boost_ghz: of a usual model; None where it is not known.
        channels, mts: of one socket's memory, and megatransfers a second of each.
        amx: BF16 FLOPs per clock of one core in its matrix unit; None without one.
        pace: truth over prediction, where networks were measured on it; None elsewhere.
        sources: where this comes from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    architecture: str
    vendor: str
    family: int
    models: tuple[tuple[int, int], ...]
    word: str | None = None
    fp32_flops_per_clk: Annotated[int, Field(ge=1)]
    boost_ghz: Annotated[float, Field(gt=0)] | None
    channels: Annotated[int, Field(ge=1)] | None
    mts: Annotated[int, Field(ge=1)] | None
    amx: int | None = None
    pace: Annotated[float, Field(gt=0)] | None = None
    sources: tuple[str, ...]

    @property
    def bandwidth_gbps(self) -> float | None:
        """Of one socket's memory, GB/s."""
        if self.channels is None or self.mts is None:
            return None
        return self.channels * self.mts * _BYTES / 1e3


class TypedCpu(NamedTuple):
    """CPUs that people name by their maker's number.

    Attributes:
        name: pattern of the whole name, in one spelling (`cpu_names.spell_cpu`).
        family: that they are of.
        ghz: highest clock of a usual one; None: no source tells it.
        source: of the clock.
    """

    name: str
    family: CpuFamily
    ghz: float | None
    source: str


class _TypedRow(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    family: str
    ghz: Annotated[float, Field(gt=0)] | None
    source: str


class _FamiliesFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    sources: dict[str, str]
    families: tuple[CpuFamily, ...]
    typed: tuple[_TypedRow, ...] = ()

    @model_validator(mode="after")
    def _names_are_there(self) -> Self:
        families = {row.name for row in self.families}
        for row in self.typed:
            if row.family not in families or row.source not in self.sources:
                raise ValueError(f"typed {row.name}: family and source must be in this file.")
        return self


def find_cpu_family(host: Host) -> CpuFamily | None:
    """The family of a machine's CPU; None where the table has none."""
    numbers = _NUMBERS.fullmatch(host.family or "")
    if numbers is None:
        return None
    vendor, family, model = numbers["vendor"], int(numbers["family"]), int(numbers["model"])
    for row in load_cpu_families():
        is_meant = row.word is None or re.search(row.word, host.name or "", re.IGNORECASE)
        in_range = any(low <= model <= high for low, high in row.models)
        if (row.vendor, row.family) == (vendor, family) and in_range and is_meant:
            return row
    return None


def load_cpu_families() -> tuple[CpuFamily, ...]:
    """The table, with the sources of each row spelt out.

    Raises:
        ConfigError: the file is missing or broken, or a source is not in its list.
    """
    return _load_file()[0]


def load_typed_cpus() -> tuple[TypedCpu, ...]:
    """Names of CPUs, and what they are of. Raises as `load_cpu_families`."""
    return _load_file()[1]


@functools.cache
def _load_file() -> tuple[tuple[CpuFamily, ...], tuple[TypedCpu, ...]]:
    path = next((f / FILE for f in folders("profiles") if (f / FILE).is_file()), None)
    if path is None:
        raise ConfigError(f"profiles/{FILE}: must be there (got none). Install smt-nas again.")
    file = validated(_FamiliesFile, read_yaml(path), str(path))
    families = tuple(_spell_sources(row, file.sources, path) for row in file.families)
    by_name = {row.name: row for row in families}
    typed = (TypedCpu(r.name, by_name[r.family], r.ghz, file.sources[r.source]) for r in file.typed)
    return families, tuple(typed)


def _spell_sources(row: CpuFamily, sources: dict[str, str], path: Path) -> CpuFamily:
    unknown = [name for name in row.sources if name not in sources]
    if unknown:
        raise ConfigError(f"{path}: {row.name}: source {unknown[0]} must be in `sources`. Add it.")
    return row.model_copy(update={"sources": tuple(sources[name] for name in row.sources)})
