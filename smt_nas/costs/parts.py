"""What a network of a space is a sum of: its `Part`s, and which of them genes stand for.

Times add up over parts where costs do: the stem, the downsamplings, a residual branch (norm, mixer,
sum), a stage's norm, the head. A space of 10^16 networks has only some hundred parts.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from smt_nas.arch import Architecture, Stage
from smt_nas.costs.networks import ImageSize, as_pair, token_sizes
from smt_nas.space import Genes, SearchSpace

PartKind = Literal["stem", "down", "sam", "msa", "ffn", "norm", "head"]
KINDS: tuple[PartKind, ...] = ("stem", "down", "sam", "msa", "ffn", "norm", "head")
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Part:
    """A piece of a network that runs as one: its shape is all that its time depends on.

    Attributes:
        kind: `stem` (image to map), `down` (downsampling), `sam` and `msa` (`x + mixer(norm1(x))`),
            `ffn` (`x + ffn(norm2(x))`), `norm` (ends a stage), `head` (mean, linear).
        size: height and width of what it takes: tokens; pixels of the stem.
        dim: channels it works at: of its output; of its input for the head.
        dim_in: channels the stem and downsampling take.
        kernels: of SAM's heads; the one of the stem.
        expand: SAM's expand ratio.
        hidden: the FFN's hidden channels.
        heads: the MSA's.
        stride: of the stem.
        classes: the head's outputs.
        layer_scale: whether the branch has a layer scale.
    """

    kind: PartKind
    size: tuple[int, int]
    dim: int
    dim_in: int = 0
    kernels: tuple[int, ...] = ()
    expand: int = 0
    hidden: int = 0
    heads: int = 0
    stride: int = 0
    classes: int = 0
    layer_scale: bool = False

    def __str__(self) -> str:
        """Name it in a word, e.g. `sam 14x14 c256 k3-5-7-9 e2`; distinct within a space."""
        words = [self.kind, "x".join(map(str, self.size)), f"c{self.dim}"]
        words += [f"i{self.dim_in}"] if self.dim_in else []
        words += [f"k{'-'.join(map(str, self.kernels))}"] if self.kernels else []
        rest = {"e": self.expand, "h": self.hidden, "a": self.heads, "o": self.classes}
        return " ".join(words + [f"{letter}{value}" for letter, value in rest.items() if value])


def parts_of(arch: Architecture, image_size: ImageSize | None = None) -> Counter[Part]:
    """The parts of a network, each with how often it occurs; `image_size` overrides its own."""
    return Counter(ordered_parts(arch, image_size))


def ordered_parts(arch: Architecture, image_size: ImageSize | None = None) -> Iterator[Part]:
    """The parts of a network in the order in which they run."""
    size = as_pair(arch.image_size if image_size is None else image_size)
    scale = arch.layer_scale is not None
    before, dim_in = size, arch.in_channels
    tokens = token_sizes(size, arch.stem.stride)[1:]
    for i, (stage, own) in enumerate(zip(arch.stages, tokens, strict=True)):
        if i == 0:
            kernels = (arch.stem.kernel,)
            yield Part("stem", before, stage.dim, dim_in, kernels, stride=arch.stem.stride)
        else:
            yield Part("down", before, stage.dim, dim_in)
        for mixer in stage.mixers:
            yield _sam(own, stage, scale) if mixer == "sam" else _msa(own, stage, scale)
            yield Part("ffn", own, stage.dim, hidden=stage.hidden, layer_scale=scale)
        yield Part("norm", own, stage.dim)
        before, dim_in = own, stage.dim
    yield Part("head", before, dim_in, classes=arch.num_classes)


def _sam(size: tuple[int, int], s: Stage, scale: bool) -> Part:
    return Part("sam", size, s.dim, kernels=s.kernels, expand=s.expand_ratio, layer_scale=scale)


def _msa(size: tuple[int, int], s: Stage, scale: bool) -> Part:
    return Part("msa", size, s.dim, heads=s.heads, layer_scale=scale)


@dataclass(frozen=True)
class _Term:
    """A place in a network that one part of several fills.

    Attributes:
        columns: the genes that choose the part.
        lookup: (product of their cardinalities,) positions in `PartIndex.parts`.
        stage: whose blocks count it, from 0.
        times: how often: once, per SAM block, per MSA block, per block.
    """

    columns: tuple[int, ...]
    lookup: Ints
    stage: int
    times: Literal["once", "sam", "msa", "blocks"]


@dataclass(frozen=True)
class PartIndex:
    """All parts of a space, and which of them the genes of a network stand for.

    Attributes:
        space: whose parts they are.
        parts: P distinct parts, in the order in which a network runs them.
    """

    space: SearchSpace
    parts: tuple[Part, ...]
    _terms: tuple[_Term, ...]

    @classmethod
    def of(cls, space: SearchSpace, image_size: ImageSize | None = None) -> PartIndex:
        """List the parts of a space; `image_size` overrides its own."""
        known: dict[Part, int] = {}
        terms = []
        for fields, stage, times, make in _places(space, image_size):
            columns = tuple(0 if f == "stem" else space.column(s, f) for s, f in fields)
            options = itertools.product(*(space.genes[c].options for c in columns))
            lookup = [known.setdefault(make(*values), len(known)) for values in options]
            terms.append(_Term(columns, np.array(lookup, dtype=np.int64), stage, times))
        return cls(space, tuple(known), tuple(terms))

    def index(self, genes: Genes) -> Ints:
        """Positions in `parts` of what each place holds, (n, T), for canonical genes (n, G)."""
        return np.column_stack([t.lookup[self._chosen(t, genes)] for t in self._terms])

    def counts(self, genes: Genes) -> Ints:
        """How often each place's part runs, (n, T); 0 where a network has none."""
        return np.column_stack(list(self._counted(genes)))

    def sums(self, values: Floats, genes: Genes) -> Floats:
        """Sum over the parts of n networks, (n,), of values (P,)."""
        total = np.zeros(len(genes))
        for term, count in zip(self._terms, self._counted(genes), strict=True):
            total += values[term.lookup][self._chosen(term, genes)] * count
        return total

    def _chosen(self, term: _Term, genes: Genes) -> Ints:
        """Position in a term's lookup, (n,)."""
        at = np.zeros(len(genes), dtype=np.int64)
        for column in term.columns:
            at = at * self.space.cardinality[column] + genes[:, column]
        return at

    def _counted(self, genes: Genes) -> Iterator[Ints]:
        """How often each term's part runs, each (n,)."""
        blocks = [self.space.blocks(genes, stage) for stage in range(4)]
        for term in self._terms:
            sam, msa = blocks[term.stage]
            times = {"once": np.ones_like(sam), "sam": sam, "msa": msa, "blocks": sam + msa}
            yield times[term.times]


_Fields = tuple[tuple[int, str], ...]  # (stage, gene); (0, "stem") is the stem's kernel
_Place = tuple[_Fields, int, Literal["once", "sam", "msa", "blocks"], Callable[..., Part]]


def _places(space: SearchSpace, image_size: ImageSize | None) -> Iterator[_Place]:
    """Every place of a network: the genes that fill it, how often, and the part of their values."""
    config = space.config
    before = as_pair(config.image_size if image_size is None else image_size)
    sizes = token_sizes(before, config.stem.stride)[1:]
    channels, stride = config.in_channels, config.stem.stride

    def stem(kernel: int, dim: int, size: tuple[int, int] = before) -> Part:
        return Part("stem", size, dim, channels, (kernel,), stride=stride)

    for i, size in enumerate(sizes):
        if i == 0:
            yield ((0, "stem"), (0, "dim")), 0, "once", stem
        else:
            yield ((i - 1, "dim"), (i, "dim")), i, "once", _down(sizes[i - 1])
        yield from _stage_places(space, i, size)
    last = sizes[3]
    head = _head(last, config.num_classes)
    yield ((3, "dim"),), 3, "once", head


def _down(size: tuple[int, int]) -> Callable[..., Part]:
    return lambda dim_in, dim: Part("down", size, dim, dim_in)


def _head(size: tuple[int, int], classes: int) -> Callable[..., Part]:
    return lambda dim: Part("head", size, dim, classes=classes)


def _stage_places(space: SearchSpace, i: int, size: tuple[int, int]) -> Iterator[_Place]:
    """The places inside a stage; mixers only where some block order has them."""
    scale = space.config.layer_scale is not None
    sam, msa = space.blocks(_block_orders(space, i), i)
    if sam.any():
        fields = ((i, "dim"), (i, "kernels"), (i, "expand_ratio"))
        yield (
            fields,
            i,
            "sam",
            lambda c, ks, e: Part("sam", size, c, kernels=ks, expand=e, layer_scale=scale),
        )
    if msa.any():
        yield (
            ((i, "dim"), (i, "heads")),
            i,
            "msa",
            lambda c, h: Part("msa", size, c, heads=h, layer_scale=scale),
        )
    yield (
        ((i, "dim"), (i, "mlp_ratio")),
        i,
        "blocks",
        lambda c, r: Part("ffn", size, c, hidden=int(c * r), layer_scale=scale),
    )
    yield ((i, "dim"),), i, "once", lambda c: Part("norm", size, c)


def _block_orders(space: SearchSpace, stage: int) -> Genes:
    """Genes of every block order of a stage; 0 in all other columns."""
    columns = [space.column(stage, f) for f in ("depth", "attention_ratio", "stacking")]
    orders = list(itertools.product(*(range(space.cardinality[c]) for c in columns)))
    rows = np.zeros((len(orders), len(space.genes)), dtype=np.int64)
    rows[:, columns] = orders
    return rows
