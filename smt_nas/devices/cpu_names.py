"""CPUs by the name people call them: `EPYC 7543`, `Xeon Gold 6248`, `i7-12700K`.

The maker's number tells the family (`profiles/cpu_families.yaml`), not how many cores this one has:
what is described is one core.
"""

from __future__ import annotations

import re

from smt_nas.devices.cpu_families import TypedCpu, load_typed_cpus
from smt_nas.devices.sheet import Sheet
from smt_nas.errors import MeasurementError

_SIGNS = re.compile(r"\((?:r|tm|c)\)|[®™©]")
_DROPPED = re.compile(  # makers' words, clocks, cores and graphics beside the number
    r"@.*|\bwith\b.*|\b1[0-4]th[ -]gen\b|\b[0-9]+[ -]core\b|\bcore(?=\W+i[3579]\b)"
    r"|\b(?:amd|intel|processor|cpu)\b"
)
_GLUED = re.compile(r"\b(epyc|ryzen|xeon|gold|silver|bronze|platinum)(?=[0-9])")
_GBPS_OF_A_CORE = 10.0
_IS_CPU = re.compile(
    r"\b(?:epyc|xeon|ryzen|threadripper|opteron|core ultra)\b|\bi[3579] [0-9]{4,5}"
)


def spell_cpu(text: str) -> str:
    """A name in one spelling: `Intel(R) Xeon(R) Gold 6248 CPU @ 2.50GHz` is `xeon gold 6248`."""
    plain = _DROPPED.sub(" ", _SIGNS.sub(" ", text.casefold().replace("_", " ")))
    return _GLUED.sub(r"\1 ", " ".join(re.findall(r"[a-z0-9+]+", plain)))


def is_cpu_name(text: str) -> bool:
    """Whether a name has a word of a brand of CPUs."""
    return _IS_CPU.search(spell_cpu(text)) is not None


def find_typed_cpu(text: str) -> TypedCpu | None:
    """The row of the table that a name is of; None where there is none."""
    name = spell_cpu(text)
    return next((row for row in load_typed_cpus() if re.fullmatch(row.name, name)), None)


def describe_typed_cpu(text: str, typed: TypedCpu) -> Sheet:
    """The sheet of one core of a CPU that was named.

    Raises:
        MeasurementError: no source tells its clock.
    """
    family, name = typed.family, spell_cpu(text)
    if typed.ghz is None:
        raise MeasurementError(
            f"device: the clock of {family.name} must be known to predict it (got {text!r}). Write "
            "a sheet and pass its path, or measure on it: `--device cpu`."
        )
    source, none = f"{family.name}: {'; '.join(family.sources)}", "its name does not tell"
    return Sheet(
        key=name.replace(" ", "-").replace("+", ""),
        name=f"{text.strip()}, one core",
        kind="cpu",
        aliases=(name.replace(" ", "-"),),
        architecture=f"{family.architecture}, {family.name}",
        threads=1,
        boost_ghz=typed.ghz,
        fp32_flops_per_clk=family.fp32_flops_per_clk,
        peak_tflops={"fp32": family.fp32_flops_per_clk * typed.ghz / 1e3},
        bandwidth_gbps=_GBPS_OF_A_CORE,
        warnings=(
            "one core of it, as its name does not tell how many it has; never checked against a "
            "measurement",
        ),
        sources={
            "architecture": source,
            "threads": none,
            "boost_ghz": typed.source,
            "fp32_flops_per_clk": source,
            "peak_tflops.fp32": "computed: FLOPs per clock x clock",
            **{f"peak_tflops.{p}": "not a fast format of one core" for p in ("tf32", "fp16")},
            "peak_tflops.bf16": none,
            "bandwidth_gbps": f"assumed: {_GBPS_OF_A_CORE:g} GB/s a core",
            **dict.fromkeys(("l2_mb", "tdp_w", "sustained"), none),
            **({} if family.pace is None else {"pace": source}),
        },
        pace=family.pace,
    )
