"""`HeadPart`: what a piece of a neck or head costs, and the convolution all of them are made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from smt_nas.costs.parts import Size, halved

Group = Literal["neck", "head"]


@dataclass(frozen=True)
class HeadPart:
    """A piece of a neck or head.

    Attributes:
        name: what it is.
        group: of what.
        params: learned numbers, exact.
        macs: of one image in inference, exact.
        training_macs: of what runs in training alone.
    """

    name: str
    group: Group
    params: int
    macs: int
    training_macs: int = 0


@dataclass(frozen=True)
class Maps:
    """The maps that a backbone gives, shallow to deep.

    Attributes:
        channels: of each.
        sizes: height and width of each.
    """

    channels: Sequence[int]
    sizes: Sequence[Size]

    @property
    def positions(self) -> list[int]:
        """Of each map."""
        return [area(size) for size in self.sizes]


@dataclass(frozen=True)
class Layer:
    """Costs of one layer."""

    params: int
    macs: int


def area(size: Size) -> int:
    """Positions of a map."""
    return size[0] * size[1]


def extra_positions(size: Size, times: int) -> list[int]:
    """Positions of the maps that follow one, each half as large (rounded up)."""
    counts = []
    for _ in range(times):
        size = halved(size)
        counts.append(area(size))
    return counts


def count_layer(
    positions: int, c_in: int, c_out: int, kernel: int = 1, bias: bool = True, norm: bool = False
) -> Layer:
    """A convolution of k x k, with a bias or a batch norm; of kernel 1 it is a linear too."""
    weights = kernel**2 * c_in * c_out
    return Layer(weights + (bias + 2 * norm) * c_out, positions * weights)


def add_up_layers(name: str, group: Group, layers: Iterable[Layer]) -> HeadPart:
    """A part of its layers."""
    counted = list(layers)
    return HeadPart(name, group, sum(x.params for x in counted), sum(x.macs for x in counted))
