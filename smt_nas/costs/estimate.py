"""Costs of many networks at once, and of one, whole or by part."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smt_nas.arch import Architecture
from smt_nas.costs.cost_table import ADDED_UP, cost_table
from smt_nas.costs.formulas import Complexity, complexity, input_elements
from smt_nas.costs.parts import ImageSize, Ints, decompose
from smt_nas.metrics import METRICS
from smt_nas.space import SearchSpace

BYTES_FP32 = 4
COSTS = tuple(name for name, metric in METRICS.items() if metric.formula)
"""Names of the metrics known by formula; the keys of `Costs.as_dict`."""
_MB_PER_ELEMENT = BYTES_FP32 / 1e6


@dataclass(frozen=True)
class Costs:
    """Costs of n networks; each field is (n,). For inference on one image.

    Attributes:
        params: learned numbers, exact.
        macs: multiply-accumulates of convolutions, linears and both attention matmuls, exact.
        attention_macs: the part of `macs` that hook counters miss, exact.
        activations: elements written by convolutions, linears and the two attention matmuls
            (as Radosavovic et al. 2020, sec. 2, extended to attention), exact.
        peak_activation_mb: largest sum of the tensors alive at once, the image included, in an
            eager fp32 forward without gradients with the fused attention kernel of the CPU, not
            counting weights and workspaces inside library kernels; exact. 1 MB = 1e6 bytes.
    """

    params: Ints
    macs: Ints
    attention_macs: Ints
    activations: Ints
    peak_activation_mb: NDArray[np.float64]

    @property
    def peak_memory_mb(self) -> NDArray[np.float64]:
        """fp32 weights plus peak activations, in MB: what `--budget 2GB` limits."""
        return self.params * (BYTES_FP32 / 1e6) + self.peak_activation_mb

    def as_dict(self) -> dict[str, NDArray[Any]]:
        """Every cost metric by its name in METRICS, each (n,)."""
        return {name: getattr(self, name) for name in COSTS}


@dataclass(frozen=True)
class PartCosts:
    """Costs of one network or of one part of it, as plain numbers.

    Attributes:
        name: module path, e.g. `stages.2.blocks.1`; `""` for the whole network.
        kind: stem, downsample, sam, msa, norm, head or network.
        params, macs, attention_macs, activations, peak_activation_mb: as in `Costs`.
    """

    name: str
    kind: str
    params: int
    macs: int
    attention_macs: int
    activations: int
    peak_activation_mb: float

    @property
    def peak_memory_mb(self) -> float:
        """fp32 weights plus peak activations, in MB."""
        return self.params * (BYTES_FP32 / 1e6) + self.peak_activation_mb

    def as_dict(self) -> dict[str, float]:
        """Every cost metric by its name in METRICS."""
        return {name: getattr(self, name) for name in COSTS}


def estimate(space: SearchSpace, genes: NDArray[Any], image_size: ImageSize | None = None) -> Costs:
    """Costs of (n, G) genes; `image_size` overrides the space's.

    Raises:
        SpaceError: the genes do not belong to the space.
    """
    sums = cost_table(space, image_size).network(space.canonical(genes))
    peak = np.asarray(sums.peak * _MB_PER_ELEMENT, dtype=np.float64)
    return Costs(peak_activation_mb=peak, **{name: sums.of(name) for name in ADDED_UP})


def stage_macs(space: SearchSpace, genes: NDArray[Any]) -> Ints:
    """MACs of each stage's blocks, (n, 4), of (n, G) genes. Raises SpaceError, as `estimate`."""
    table, rows = cost_table(space), space.canonical(genes)
    return np.column_stack([table.body(rows, stage).of("macs") for stage in range(4)])


def add_up_stages(parts: Iterable[PartCosts]) -> list[int]:
    """MACs of each stage's blocks, of the parts of one network."""
    macs = [0, 0, 0, 0]
    for part in parts:
        place = part.name.split(".")  # stages.2.blocks.1
        if place[2:3] == ["blocks"]:
            macs[int(place[1])] += part.macs
    return macs


def of(arch: Architecture, image_size: ImageSize | None = None) -> PartCosts:
    """Costs of one architecture; `image_size` overrides its own."""
    return _name_costs(
        "", "network", _add_up(costs for _, _, costs in _list_parts(arch, image_size))
    )


def by_part(arch: Architecture, image_size: ImageSize | None = None) -> list[PartCosts]:
    """Costs of one architecture, in the order in which its parts run; a block counts as one.

    They add up to `of(arch)`; the peak of the whole is the largest of theirs.
    """
    return [_name_costs(name, kind, costs) for name, kind, costs in _list_parts(arch, image_size)]


def _list_parts(
    arch: Architecture, image_size: ImageSize | None
) -> Iterator[tuple[str, str, Complexity]]:
    """Module path, kind and costs of what runs, with what is alive beside it in the peak."""
    parts = decompose(arch, image_size)
    image = input_elements(parts.stages[0].embed)
    for i, stage in enumerate(parts.stages):
        alive = image + (input_elements(stage.embed) if i else 0)
        kind = "downsample" if i else "stem"
        yield f"stages.{i}.embed", kind, _add_alive(complexity(stage.embed), alive)
        block = {  # of one kind, all blocks of a stage are alike
            mixer.kind: _add_alive(_add_up((complexity(mixer), complexity(ffn))), alive)
            for mixer, ffn in {mixer.kind: (mixer, ffn) for mixer, ffn in stage.blocks}.values()
        }
        for j, (mixer, _) in enumerate(stage.blocks):
            yield f"stages.{i}.blocks.{j}", mixer.kind, block[mixer.kind]
        yield f"stages.{i}.norm", "norm", _add_alive(complexity(stage.norm), alive)
    yield "head", "head", _add_alive(complexity(parts.head), image)


def _add_up(parts: Iterable[Complexity]) -> Complexity:
    """Parts one after the other: costs add up, the peak is the largest."""
    params, macs, attention, activations, peaks = zip(*parts, strict=True)
    return Complexity(sum(params), sum(macs), sum(attention), sum(activations), max(peaks))


def _add_alive(part: Complexity, alive: int) -> Complexity:
    """The same while other elements stay alive."""
    return part._replace(peak=part.peak + alive)


def _name_costs(name: str, kind: str, part: Complexity) -> PartCosts:
    return PartCosts(
        name=name,
        kind=kind,
        params=part.params,
        macs=part.macs,
        attention_macs=part.attention_macs,
        activations=part.activations,
        peak_activation_mb=part.peak * _MB_PER_ELEMENT,
    )
