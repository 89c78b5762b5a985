"""What the parts of a space cost, tabulated: costs of n networks from their genes, by look-up."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce

import numpy as np

from smt_nas.costs.formulas import Complexity, complexity, input_elements
from smt_nas.costs.parts import ImageSize, Ints, PartIndex, PartKind, as_pair
from smt_nas.space import Genes, SearchSpace

EMBED: tuple[PartKind, ...] = ("stem", "down")
BODY: tuple[PartKind, ...] = ("sam", "msa", "ffn", "norm")
ADDED_UP = Complexity._fields[:4]


@dataclass(frozen=True)
class Sums:
    """Costs of some parts of n networks.

    Attributes:
        added: (4, n) of what adds up, in the order of `ADDED_UP`.
        peak: (n,) largest number of elements alive at once.
    """

    added: Ints
    peak: Ints

    def of(self, name: str) -> Ints:
        """One of `ADDED_UP`, (n,)."""
        return np.asarray(self.added[ADDED_UP.index(name)])

    def add_alive(self, alive: Ints | int) -> Sums:
        """The same while (n,) other elements stay alive."""
        return Sums(self.added, self.peak + alive)


def add_up(sums: Sequence[Sums]) -> Sums:
    """Parts one after the other."""
    peak = reduce(np.maximum, [s.peak for s in sums])
    return Sums(reduce(np.add, [s.added for s in sums]), peak)


@dataclass(frozen=True)
class CostTable:
    """Costs of all parts of one space at one image size.

    Attributes:
        index: the parts.
        image: elements of one image, which is alive all along.
        costs: (5, P) of the parts, in the order of `Complexity`.
        inputs: (P,) elements of what each part takes.
    """

    index: PartIndex
    image: int
    costs: Ints
    inputs: Ints

    @classmethod
    def of(cls, space: SearchSpace, image_size: ImageSize | None = None) -> CostTable:
        """Tabulate a space; `image_size` overrides its own."""
        index = PartIndex.of(space, image_size)
        height, width = as_pair(space.config.image_size if image_size is None else image_size)
        rows = np.array([complexity(part) for part in index.parts], dtype=np.int64)
        costs = np.ascontiguousarray(rows.T)
        inputs = np.array([input_elements(part) for part in index.parts], dtype=np.int64)
        return cls(index, height * width * space.config.in_channels, costs, inputs)

    def network(self, genes: Genes) -> Sums:
        """Costs of whole networks, from canonical genes (n, G)."""
        stages = [
            self._sums(genes, stage, (*EMBED, *BODY)).add_alive(self.count_alive(genes, stage))
            for stage in range(4)
        ]
        return add_up((*stages, self.head(genes)))

    def body(self, genes: Genes, stage: int) -> Sums:
        """Costs of a stage's blocks and norm; the peak is without what `count_alive` says."""
        return self._sums(genes, stage, BODY)

    def embed(self, genes: Genes, stage: int) -> Sums:
        """Costs of the stem or of a downsampling; the peak is without what `count_alive` says."""
        return self._sums(genes, stage, EMBED)

    def head(self, genes: Genes) -> Sums:
        """Costs of the head, the image being alive."""
        return self._sums(genes, 3, ("head",)).add_alive(self.image)

    def count_alive(self, genes: Genes, stage: int) -> Ints:
        """Elements alive all through a stage, (n,): the image and, later, the map before."""
        if stage == 0:
            return np.full(len(genes), self.image)
        down = next(t for t in self.index.terms if t.stage == stage and t.place.kind == "down")
        return np.asarray(self.inputs[down.lookup][self.index.chosen(down, genes)] + self.image)

    def _sums(self, genes: Genes, stage: int, kinds: Container[PartKind]) -> Sums:
        """Costs of a stage's places of some kinds."""
        added, peak = np.zeros((4, len(genes)), np.int64), np.zeros(len(genes), np.int64)
        for term, count in self.index.places(genes, stage):
            if term.place.kind in kinds:
                at = self.index.chosen(term, genes)
                rows = self.costs[:, term.lookup].take(at, axis=1)  # (5, n)
                if count is not None:
                    rows[:4] *= count
                    rows[4] *= count > 0
                added += rows[:4]
                np.maximum(peak, rows[4], out=peak)
        return Sums(added, peak)


@lru_cache(maxsize=16)
def cost_table(space: SearchSpace, image_size: ImageSize | None = None) -> CostTable:
    """The table of a space; made once."""
    return CostTable.of(space, image_size)
