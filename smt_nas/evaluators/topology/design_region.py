"""The region of designs: how far a network's shape lies from shapes that were ever published.

Ten features that have no scale (depth, shares of blocks and of MACs, growth of the width), each in
standard deviations over published networks; the distance of a network is that to its third nearest
neighbour among them. The region ends where 95 % of published networks lie, each measured against
those of other lines of design, as an SMT is of none of theirs. A neighbour's distance needs no
assumption of what the density looks like (Loftsgaarden and Quesenberry 1965).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

from smt_nas.evaluators.topology.published_table import PublishedTable, load_published
from smt_nas.evaluators.topology.shapes import (
    Floats,
    Shapes,
    measure_features,
    square_distances,
    square_distances_by_row,
)
from smt_nas.space import Genes, SearchSpace

FEATURES = ("depth", "blocks", "macs", "widths")
NEIGHBOUR = 3
SHARE = 0.95
_CHUNK = 5_000  # networks whose distances to all published ones are there at a time


@dataclass(frozen=True)
class DesignRegion:
    """Where networks with blocks like SMT's were published.

    Attributes:
        table: a row an architecture.
    """

    table: PublishedTable

    @classmethod
    def of(cls, table: PublishedTable) -> DesignRegion:
        """The region of the architectures of a table whose blocks are no bottlenecks."""
        archs = [name.partition(".")[0] for name in table.name]
        first = np.unique(archs, return_index=True)[1]
        rows = table.select(np.sort(first))
        return cls(rows.select(rows.inverted))

    @cached_property
    def limit(self) -> float:
        """The distance at which the region ends: within it lies `SHARE` of published networks."""
        return float(np.quantile(self.own_distances, SHARE))

    @cached_property
    def own_distances(self) -> Floats:
        """Of each published network, against those of other lines, (n,)."""
        distances = np.sqrt(square_distances(self._points, self._points))
        distances[self.table.line[:, None] == self.table.line[None, :]] = np.inf
        return np.asarray(np.partition(distances, NEIGHBOUR - 1, axis=1)[:, NEIGHBOUR - 1])

    def measure(self, shapes: Shapes) -> Floats:
        """Distance of networks, (n,); inside where it is at most `limit`."""
        rows = self._standardise(shapes)
        chunks = (rows[i : i + _CHUNK] for i in range(0, len(rows), _CHUNK))
        return np.concatenate([np.empty(0), *map(self._measure_rows, chunks)])

    def _measure_rows(self, rows: Floats) -> Floats:
        distances = np.sqrt(square_distances_by_row(rows, self._points))
        return np.asarray(np.partition(distances, NEIGHBOUR - 1, axis=1)[:, NEIGHBOUR - 1])

    def measure_genes(self, space: SearchSpace, genes: Genes) -> Floats:
        """Distance of (n, G) genes, (n,)."""
        return self.measure(Shapes.of_genes(space, genes))

    def find_nearest(self, shapes: Shapes) -> list[tuple[str, ...]]:
        """Names of the `NEIGHBOUR` architectures nearest to each network, the nearest first."""
        distances = np.sqrt(square_distances_by_row(self._standardise(shapes), self._points))
        order = np.argsort(distances, axis=1, kind="stable")[:, :NEIGHBOUR]
        return [tuple(str(n).partition(".")[0] for n in self.table.name[row]) for row in order]

    @cached_property
    def _features(self) -> Floats:
        return measure_features(FEATURES, self.table.shapes)

    @cached_property
    def _points(self) -> Floats:
        return self._standardise(self.table.shapes)

    def _standardise(self, shapes: Shapes) -> Floats:
        """Features in standard deviations, (n, 10)."""
        mean, std = self._features.mean(axis=0), self._features.std(axis=0)
        std = np.where(std > 0, std, 1.0)  # a feature that all published networks share
        return np.asarray((measure_features(FEATURES, shapes) - mean) / std)


def lies_in_region(space: SearchSpace, genes: Genes) -> NDArray[np.bool_]:
    """Which of (n, G) genes lie in the region of the shipped table, (n,)."""
    region = load_region()
    return np.asarray(region.measure_genes(space, genes) <= region.limit)


@cache
def load_region() -> DesignRegion:
    """That of the shipped table."""
    return DesignRegion.of(load_published())
