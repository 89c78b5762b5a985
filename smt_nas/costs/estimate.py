"""Costs of many networks at once, and of one, whole or by part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smt_nas.arch import Architecture
from smt_nas.costs import formulas
from smt_nas.costs.formulas import Part
from smt_nas.costs.networks import ImageSize, Ints, Networks, from_arch, from_genes
from smt_nas.metrics import METRICS
from smt_nas.space import SearchSpace

BYTES_FP32 = 4
COSTS = tuple(name for name, metric in METRICS.items() if metric.formula)
"""Names of the metrics known by formula; the keys of `Costs.as_dict`."""


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
    part = _network(from_genes(space, space.canonical(genes), image_size))
    peak = np.asarray(part.peak * _MB_PER_ELEMENT, dtype=np.float64)
    return Costs(part.params, part.macs, part.attention_macs, part.activations, peak)


def of(arch: Architecture, image_size: ImageSize | None = None) -> PartCosts:
    """Costs of one architecture; `image_size` overrides its own."""
    return _plain("", "network", _network(from_arch(arch, image_size)))


def by_part(arch: Architecture, image_size: ImageSize | None = None) -> list[PartCosts]:
    """Costs of one architecture, in the order in which its parts run.

    They add up to `of(arch)`; the peak of the whole is the largest of theirs.
    """
    net = from_arch(arch, image_size)
    parts = []
    for i, (stage, s) in enumerate(zip(arch.stages, net.stages, strict=True)):
        embed, norm = formulas.embed(net, i), formulas.stage_norm(s)
        kinds = {"sam": formulas.sam_mixer(s), "msa": formulas.msa_mixer(s)}
        found = [("embed", "downsample" if i else "stem", embed)]
        for j, mixer in enumerate(stage.mixers):
            part = formulas.block(s, kinds[mixer], net.layer_scale)
            found.append((f"blocks.{j}", mixer, part))
        for name, kind, part in (*found, ("norm", "norm", norm)):
            held = formulas.holding(part, net.held(i))
            parts.append(_plain(f"stages.{i}.{name}", kind, held))
    return [*parts, _plain("head", "head", formulas.head(net))]


_MB_PER_ELEMENT = BYTES_FP32 / 1e6


def _network(net: Networks) -> Part:
    return formulas.total(_parts(net))


def _parts(net: Networks) -> Iterator[Part]:
    for i in range(4):
        stage = formulas.total((formulas.embed(net, i), formulas.body(net, i)))
        yield formulas.holding(stage, net.held(i))
    yield formulas.head(net)


def _plain(name: str, kind: str, part: Part) -> PartCosts:
    return PartCosts(
        name,
        kind,
        int(part.params[0]),
        int(part.macs[0]),
        int(part.attention_macs[0]),
        int(part.activations[0]),
        float(part.peak[0] * _MB_PER_ELEMENT),
    )
