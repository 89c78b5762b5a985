"""The one decomposition: what a network, or any network of a space, is a sum of.

A network is four stages and a head; a stage is what brings it to its resolution, blocks of a mixer
and an FFN each, and a norm. `PLACES` says which part stands where, how often, and which fields of a
stage shape it. Costs and times add up over parts, and modules are built from them, so whatever
reads a network reads it here. A space of 10^16 networks has fewer than a thousand parts:
`PartIndex` lists them by going through the options of those fields.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smt_nas.arch import Architecture, Mixer, Stage, Stem
from smt_nas.space import Genes, SearchSpace

PartKind = Literal["stem", "down", "sam", "msa", "ffn", "norm", "head"]
KINDS: tuple[PartKind, ...] = ("stem", "down", "sam", "msa", "ffn", "norm", "head")
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Size = tuple[int, int]  # height and width
ImageSize = int | Size


@dataclass(frozen=True)
class Part:
    """A piece of a network that runs as one: its shape is all that its cost and time depend on.

    Attributes:
        kind: `stem` (image to map), `down` (downsampling), `sam` and `msa` (`x + mixer(norm1(x))`),
            `ffn` (`x + ffn(norm2(x))`), `norm` (ends a stage), `head` (mean, linear).
        size: height and width of what it takes: tokens; pixels of the stem.
        dim: channels it works at: of its output; of its input for the head.
        dim_in: channels the stem and downsampling take.
        kernels: of SAM's heads; the one of the stem.
        expand: SAM's expand ratio.
        hidden: the FFN's hidden channels.
        ffn_kernel: of the FFN's depthwise convolution.
        heads: the MSA's.
        stride: of the stem.
        classes: the head's outputs.
        layer_scale: whether the branch has a layer scale.
    """

    kind: PartKind
    size: Size
    dim: int
    dim_in: int = 0
    kernels: tuple[int, ...] = ()
    expand: int = 0
    hidden: int = 0
    heads: int = 0
    stride: int = 0
    classes: int = 0
    layer_scale: bool = False
    ffn_kernel: int = 3

    def __str__(self) -> str:
        """Name it in a word, e.g. `sam 14x14 c256 k3-5-7-9 e2`; distinct within a space."""
        words = [self.kind, "x".join(map(str, self.size)), f"c{self.dim}"]
        words += [f"i{self.dim_in}"] if self.dim_in else []
        words += [f"k{'-'.join(map(str, self.kernels))}"] if self.kernels else []
        words += [f"k{self.ffn_kernel}"] if self.ffn_kernel != 3 else []
        rest = {"e": self.expand, "h": self.hidden, "a": self.heads, "o": self.classes}
        return " ".join(words + [f"{letter}{value}" for letter, value in rest.items() if value])

    @property
    def widths(self) -> tuple[int, int]:
        """Channels of its output and of its input; the FFN's hidden ones are a multiple."""
        return self.dim, self.dim_in if self.kind == "down" else self.dim

    @property
    def proportions(self) -> tuple[Hashable, ...]:
        """All of a part but its widths: equal for parts that differ in width alone."""
        given = 0 if self.kind == "down" else self.dim_in  # an image has the channels it has
        ratio = Fraction(self.hidden, self.dim)
        shape = (self.kind, self.size, self.kernels, self.expand, self.heads, self.ffn_kernel)
        return (*shape, given, ratio, self.stride, self.classes, self.layer_scale)


class Site(NamedTuple):
    """Where a part stands: all that may shape it.

    Attributes:
        before: height and width of what comes into the stage: pixels, later tokens.
        dim_in: its channels.
        size: height and width of the stage in tokens.
        stage: the stage.
        stem: of the network, as are the other two.
        classes: outputs of the head.
        layer_scale: whether branches have one.
    """

    before: Size
    dim_in: int
    size: Size
    stage: Stage
    stem: Stem
    classes: int
    layer_scale: bool


@dataclass(frozen=True)
class Place:
    """Where one part of several stands.

    Attributes:
        kind: of the part.
        times: how often a stage has it: once, per SAM block, per MSA block, per block.
        fields: of the stage that shape the part.
        part: makes it.
        stages: that have the place, from 0.
    """

    kind: PartKind
    times: Literal["once", "sam", "msa", "blocks"]
    fields: tuple[str, ...]
    part: Callable[[Site], Part]
    stages: tuple[int, ...] = (0, 1, 2, 3)

    @property
    def mixer(self) -> Mixer | None:
        """The blocks it is of, where it is of one kind of them."""
        return self.times if self.times in ("sam", "msa") else None


def _stem(at: Site) -> Part:
    kernels = (at.stem.kernel,)
    return Part("stem", at.before, at.stage.dim, at.dim_in, kernels, stride=at.stem.stride)


def _sam(at: Site) -> Part:
    s = at.stage
    return Part(
        "sam", at.size, s.dim, kernels=s.kernels, expand=s.expand_ratio, layer_scale=at.layer_scale
    )


def _msa(at: Site) -> Part:
    return Part("msa", at.size, at.stage.dim, heads=at.stage.heads, layer_scale=at.layer_scale)


def _ffn(at: Site) -> Part:
    s, scale = at.stage, at.layer_scale
    return Part("ffn", at.size, s.dim, hidden=s.hidden, layer_scale=scale, ffn_kernel=s.ffn_kernel)


PLACES = (
    Place("stem", "once", ("dim",), _stem, stages=(0,)),
    Place("down", "once", ("dim",), lambda at: Part("down", at.before, at.stage.dim, at.dim_in),
          stages=(1, 2, 3)),
    Place("sam", "sam", ("dim", "kernels", "expand_ratio"), _sam),
    Place("msa", "msa", ("dim", "heads"), _msa),
    Place("ffn", "blocks", ("dim", "mlp_ratio", "ffn_kernel"), _ffn),
    Place("norm", "once", ("dim",), lambda at: Part("norm", at.size, at.stage.dim)),
    Place("head", "once", ("dim",), lambda at: Part("head", at.size, at.stage.dim,
                                                    classes=at.classes), stages=(3,)),
)  # fmt: skip
"""The places of a network, those of a stage in the order in which it runs them."""


@dataclass(frozen=True)
class StageParts:
    """The parts of one stage.

    Attributes:
        embed: the stem, or the downsampling.
        blocks: a mixer and an FFN each.
        norm: ends the stage.
    """

    embed: Part
    blocks: tuple[tuple[Part, Part], ...]
    norm: Part

    def __iter__(self) -> Iterator[Part]:
        """In the order in which they run."""
        return itertools.chain((self.embed,), *self.blocks, (self.norm,))


@dataclass(frozen=True)
class NetworkParts:
    """The parts of a network: four stages and the head."""

    stages: tuple[StageParts, ...]
    head: Part

    def __iter__(self) -> Iterator[Part]:
        """In the order in which they run."""
        return itertools.chain(*self.stages, (self.head,))


def decompose(arch: Architecture, image_size: ImageSize | None = None) -> NetworkParts:
    """The parts of a network; `image_size` overrides its own."""
    before = as_pair(arch.image_size if image_size is None else image_size)
    sizes = token_sizes(before, arch.stem.stride)[1:]
    dim_in, stages = arch.in_channels, []
    scale = arch.layer_scale is not None
    for i, (stage, size) in enumerate(zip(arch.stages, sizes, strict=True)):
        site = Site(before, dim_in, size, stage, arch.stem, arch.num_classes, scale)
        part = {
            place.kind: place.part(site)
            for place in PLACES
            if i in place.stages and place.mixer in (None, *stage.mixers)
        }
        blocks = tuple((part[mixer], part["ffn"]) for mixer in stage.mixers)
        stages.append(StageParts(part["down" if i else "stem"], blocks, part["norm"]))
        before, dim_in = size, stage.dim
    return NetworkParts(tuple(stages), part["head"])


def as_pair(image_size: ImageSize) -> Size:
    """Height and width in pixels."""
    return (image_size, image_size) if isinstance(image_size, int) else image_size


def stem_sizes(size: Size, stride: int) -> tuple[Size, Size]:
    """Height and width after each of the stem's convolutions.

    An odd-kernel convolution of stride s padded by k // 2 gives ceil(x / s); the stem's 2x2
    convolution of stride 2 is not padded and gives floor(x / 2).
    """
    first = stride // 2
    height, width = (-(-pixels // first) for pixels in size)
    return (height, width), (height // 2, width // 2)


def halved(size: Size) -> Size:
    """Height and width after a downsampling: ceil(x / 2)."""
    return -(-size[0] // 2), -(-size[1] // 2)


def token_sizes(image_size: Size, stem_stride: int) -> list[Size]:
    """Spatial sizes after the first stem convolution and in the four stages."""
    sizes = list(stem_sizes(image_size, stem_stride))
    for _ in range(3):
        sizes.append(halved(sizes[-1]))
    return sizes


@dataclass(frozen=True)
class Term:
    """A place of a space's networks, and the part that each choice of genes puts there.

    Attributes:
        place: which.
        stage: of which stage, from 0.
        columns: the genes that choose the part.
        lookup: (product of their cardinalities,) positions in `PartIndex.parts`.
    """

    place: Place
    stage: int
    columns: tuple[int, ...]
    lookup: Ints


@dataclass(frozen=True)
class PartIndex:
    """All parts of a space, and which of them the genes of a network stand for.

    Attributes:
        space: whose parts they are.
        parts: P distinct parts, in the order in which a network runs them.
        terms: T places that hold them, in that order too.
    """

    space: SearchSpace
    parts: tuple[Part, ...]
    terms: tuple[Term, ...]

    @classmethod
    def of(cls, space: SearchSpace, image_size: ImageSize | None = None) -> PartIndex:
        """List the parts of a space; `image_size` overrides its own."""
        position: dict[Part, int] = {}
        terms = []
        for stage, place in itertools.product(range(4), PLACES):
            parts = [place.part(site) for site in _list_sites(space, place, stage, image_size)]
            if parts:  # else the stage has no such place, or no order with such blocks
                lookup = [position.setdefault(part, len(position)) for part in parts]
                columns = _find_columns(space, place, stage)
                terms.append(Term(place, stage, columns, np.array(lookup, dtype=np.int64)))
        return cls(space, tuple(position), tuple(terms))

    def index(self, genes: Genes) -> Ints:
        """Positions in `parts` of what each place holds, (n, T), for canonical genes (n, G)."""
        return np.column_stack([t.lookup[self.chosen(t, genes)] for t in self.terms])

    def counts(self, genes: Genes) -> Ints:
        """How often each place's part runs, (n, T); 0 where a network has none."""
        once = np.ones(len(genes), dtype=np.int64)
        counts = [count for stage in range(4) for _, count in self.places(genes, stage)]
        return np.column_stack([once if count is None else count for count in counts])

    def sums(self, values: Floats, genes: Genes) -> Floats:
        """Sum over the parts of n networks, (n,), of values (P,)."""
        total = np.zeros(len(genes))
        for stage in range(4):
            for term, count in self.places(genes, stage):
                value = values[term.lookup][self.chosen(term, genes)]
                total += value if count is None else value * count
        return total

    def places(self, genes: Genes, stage: int) -> Iterator[tuple[Term, Ints | None]]:
        """The terms of a stage, each with how often its part runs, (n,); None: once in all."""
        sam, msa = self.space.blocks(genes, stage)
        times = {"once": None, "sam": sam, "msa": msa, "blocks": sam + msa}
        for term in self.terms:
            if term.stage == stage:
                yield term, times[term.place.times]

    def chosen(self, term: Term, genes: Genes) -> Ints:
        """Positions in a term's lookup, (n,), for canonical genes (n, G)."""
        at = np.zeros(len(genes), dtype=np.int64)
        for column in term.columns:
            at = at * self.space.cardinality[column] + genes[:, column]
        return at


def _list_sites(
    space: SearchSpace, place: Place, i: int, image_size: ImageSize | None
) -> Iterator[Site]:
    """Every site of a place in stage i, by the options that shape its part, slowest first."""
    if i not in place.stages:
        return
    config = space.config
    pixels = as_pair(config.image_size if image_size is None else image_size)
    before, size = (pixels, *token_sizes(pixels, config.stem.stride)[1:])[i : i + 2]
    kernels = config.stem.kernel if place.kind == "stem" else config.stem.kernel[:1]
    widths = config.stages[i - 1].dim if place.kind == "down" else (config.in_channels,)
    stages = list(space.stages(i, place.fields, place.mixer))
    scale = config.layer_scale is not None
    for kernel, dim_in, stage in itertools.product(kernels, widths, stages):
        stem = Stem(kernel=kernel, stride=config.stem.stride)
        yield Site(before, dim_in, size, stage, stem, config.num_classes, scale)


def _find_columns(space: SearchSpace, place: Place, i: int) -> tuple[int, ...]:
    """The genes that choose the part of a place in stage i, slowest first."""
    own = space.columns(i)
    columns = [own[field] for field in place.fields if field in own]
    if place.kind == "stem":
        return (0, *columns)
    return (space.column(i - 1, "dim"), *columns) if place.kind == "down" else tuple(columns)
