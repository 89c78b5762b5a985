"""Which networks a bench trains: spread over the space, the published patterns, the ablations.

    band      drawn from the space, as many in every band of MACs
    pattern   SMT-T, -S and -B at other widths: SAM, SAM, SAM/MSA in turn, MSA
    heads     1, 2, 4, 6 or 8 kernels, all else equal (SMT, sec. 4.4)
    mixers    where SAM and MSA blocks stand, all else equal: SAM only, MSA only, in turn, halves

A longer plan begins with the shorter one's networks, so a bench can grow.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from smt_nas import costs
from smt_nas.arch import Architecture, Stacking, Stage, Stem, arrange_mixers
from smt_nas.errors import ConfigError
from smt_nas.metrics import METRICS
from smt_nas.space import Genes, SearchSpace

Candidate = tuple[str, Architecture]
"""The group of a network, see `PlannedNetwork`, and the network."""
Keep = Callable[[Genes], NDArray[np.bool_]]

BANDS = 6  # of MACs, each as wide as the others on a log scale
_EVERY = 5  # one network in so many is trained with all seeds, the others with as many as asked
SEEDS = (0, 1, 2)
_HEADS = 4
_DRAW, _MOST_DRAWS = 20_000, 200
_TURNS = ("band", "ablation", "band", "band", "ablation", "band", "pattern", "band", "ablation")
"""The share of each kind; where one is used up, bands go on."""

KERNELS = {n: tuple(range(3, 3 + 2 * n, 2)) for n in (1, 2, 4, 6, 8)}
"""Kernel sets of the ablation, by number of heads: the n smallest, as 3, 5, 7, 9 are for four."""

_SAM: tuple[float, Stacking] = (0.0, "alternate")
_MIXERS: dict[str, tuple[tuple[float, Stacking], tuple[float, Stacking]]] = {
    "alternate+msa": ((0.5, "alternate"), (1.0, "alternate")),  # as published
    "sam+msa": ((0.0, "alternate"), (1.0, "alternate")),
    "msa+msa": ((1.0, "alternate"), (1.0, "alternate")),
    "halves+msa": ((0.5, "tail"), (1.0, "alternate")),
    "alternate+sam": ((0.5, "alternate"), (0.0, "alternate")),
    "sam+sam": ((0.0, "alternate"), (0.0, "alternate")),
}
"""(attention_ratio, stacking) of the third and of the fourth stage."""

_BASES = (  # widths that 1, 2, 4, 6 and 8 divide; depths; FFN ratio; expand ratio
    ((24, 48, 96, 192), (1, 1, 4, 1), 2, 2),
    ((24, 48, 96, 144), (1, 2, 2, 1), 2, 1),
    ((24, 48, 72, 144), (1, 1, 4, 2), 2, 1),
    ((48, 48, 96, 144), (1, 1, 4, 1), 1, 2),
    ((24, 72, 96, 192), (2, 1, 4, 1), 1, 1),
    ((24, 48, 120, 192), (1, 1, 4, 1), 2, 1),
    ((24, 48, 96, 192), (1, 1, 2, 1), 2, 2),
    ((24, 48, 72, 96), (2, 2, 4, 1), 2, 2),
)
_WIDTHS = ((16, 32, 64, 128), (24, 48, 96, 192), (32, 64, 96, 192), (32, 64, 128, 192))
_PATTERNS = {"t": ((1, 1, 4, 1), (2, 2, 2, 1)), "s": ((1, 1, 6, 1), (2, 2, 2, 1))} | {
    "b": ((1, 2, 6, 1), (4, 3, 2, 1))
}


@dataclass(frozen=True)
class PlannedNetwork:
    """A network to train.

    Attributes:
        arch: the network.
        group: why it is in the plan: `band:3`, `pattern:t`, `heads:2:6`, `mixers:2:sam+msa`; the
            last part is the variant, the one before it the base that the variants share.
        seeds: of its trainings.
    """

    arch: Architecture
    group: str
    seeds: tuple[int, ...]


def plan_networks(
    space: SearchSpace, n: int, low: float, high: float, seed: int = 0, trainings: int = 1
) -> list[PlannedNetwork]:
    """The first n networks to train, kinds and sizes mixed, so that any beginning is a sample.

    Patterns and ablations have the widths of small networks; those outside the range are left out.

    Args:
        space: gives the image size, the classes and the networks of the bands.
        n: networks.
        low: fewest MACs of one.
        high: most MACs of one.
        seed: of the draw.
        trainings: of every network, at least; a fifth of them has three anyway.

    Raises:
        ConfigError: the space has too few networks in one of the bands, or `trainings` is not 1, 2
            or 3.
    """
    fixed = {"pattern": iter(_list_patterns(space)), "ablation": iter(_list_ablations(space))}
    seen = set[str]()
    streams = {**fixed, "band": draw_bands(space, low, high, seed, seen)}
    return take_in_turn(itertools.cycle(_TURNS), streams, n, low, high, seen, trainings)


def take_in_turn(
    turns: Iterator[str],
    streams: Mapping[str, Iterator[Candidate]],
    n: int,
    low: float,
    high: float,
    seen: set[str],
    trainings: int,
) -> list[PlannedNetwork]:
    """The first n networks of several kinds, each once.

    Args:
        turns: kinds, without end.
        streams: groups and networks of each kind; where one ends, those of `band` go on.
        n: networks.
        low: fewest MACs of one; others are passed over.
        high: most MACs of one.
        seen: keys of networks that were taken; gets those of this plan.
        trainings: of every network, at least.

    Raises:
        ConfigError: see `plan_networks`.
    """
    if not 1 <= trainings <= len(SEEDS):
        raise ConfigError(
            f"plan: trainings of a network must be 1 to {len(SEEDS)} (got {trainings}). Choose "
            "another --seeds."
        )
    planned: list[PlannedNetwork] = []
    while len(planned) < n:
        group, arch = next(
            (g, a)
            for g, a in itertools.chain(streams[next(turns)], streams["band"])
            if a.key not in seen and low <= costs.of(a).macs <= high
        )
        seen.add(arch.key)
        seeds = SEEDS if len(planned) % _EVERY == 0 else SEEDS[:trainings]
        planned.append(PlannedNetwork(arch, group, seeds))
    return planned


def draw_bands(
    space: SearchSpace,
    low: float,
    high: float,
    seed: int,
    seen: Set[str],
    name: str = "band",
    keep: Keep | None = None,
) -> Iterator[Candidate]:
    """Networks of the space whose keys were not seen, one of each band in turn, without end.

    Args:
        space: they are drawn from it.
        low: fewest MACs of one.
        high: most MACs of one.
        seed: of the draw.
        seen: keys of networks that are taken; may grow meanwhile.
        name: the first part of their group.
        keep: which of (n, G) genes may be drawn; None for all.
    """
    edges = np.geomspace(low, high, BANDS + 1)
    words = [seed] if keep is None else [seed, *name.encode()]
    streams = [
        _draw_band(space, edges[i], edges[i + 1], np.random.default_rng([*words, i]), seen, keep)
        for i in range(BANDS)
    ]
    for i in itertools.cycle(range(BANDS)):
        yield f"{name}:{i}", next(streams[i])


def _draw_band(
    space: SearchSpace,
    low: float,
    high: float,
    rng: np.random.Generator,
    seen: Set[str],
    keep: Keep | None,
) -> Iterator[Architecture]:
    """New networks of so many MACs, as `SearchSpace.sample` draws them."""
    dry, tried = 0, set[bytes]()
    while dry < _MOST_DRAWS:
        genes = space.sample(rng, _DRAW)
        macs = costs.estimate(space, genes).macs
        dry += 1
        genes = genes[(low <= macs) & (macs < high)]
        for row in genes if keep is None or not len(genes) else genes[keep(genes)]:
            if row.tobytes() in tried:
                continue
            tried.add(row.tobytes())
            arch = space.decode(row[None])[0]
            if arch.key not in seen:
                dry = 0
                yield arch
    describe = METRICS["macs"].describe
    raise ConfigError(
        f"space {space.name}: must have more networks of {describe(low)} to {describe(high)} "
        f"(got no other than {len(tried)} in millions drawn). Ask for fewer with --n, or choose "
        "another --macs."
    )


def _list_patterns(space: SearchSpace) -> Iterator[tuple[str, Architecture]]:
    for dims, (name, (depths, ratios)) in itertools.product(_WIDTHS, _PATTERNS.items()):
        stages = [
            _make_stage(dims[i], depths[i], ratios[i], 2, KERNELS[4], share, "alternate")
            for i, share in enumerate((0.0, 0.0, 0.5, 1.0))
        ]
        yield f"pattern:{name}", _make_network(space, stages, 7 if name == "b" else 3)


def _list_ablations(space: SearchSpace) -> Iterator[tuple[str, Architecture]]:
    for base in range(len(_BASES)):
        for axis, variants in ablation_variants(space, base).items():
            for name, arch in variants.items():
                yield f"{axis}:{base}:{name}", arch


def ablation_variants(space: SearchSpace, base: int) -> dict[str, dict[str, Architecture]]:
    """The variants of one base, by axis (`heads`, `mixers`) and name; one of each is the same."""
    heads = {str(n): _make_variant(space, base, kernels) for n, kernels in KERNELS.items()}
    mixers = {
        name: _make_variant(space, base, KERNELS[4], third, fourth)
        for name, (third, fourth) in _MIXERS.items()
    }
    return {"heads": heads, "mixers": mixers}


def ablation_bases() -> range:
    """Numbers of the bases that ablations vary."""
    return range(len(_BASES))


def _make_variant(
    space: SearchSpace,
    base: int,
    kernels: tuple[int, ...],
    third: tuple[float, Stacking] = _MIXERS["alternate+msa"][0],
    fourth: tuple[float, Stacking] = _MIXERS["alternate+msa"][1],
) -> Architecture:
    dims, depths, ratio, expand = _BASES[base]
    mixers: tuple[tuple[float, Stacking], ...] = (_SAM, _SAM, third, fourth)
    stages = [_make_stage(dims[i], depths[i], ratio, expand, kernels, *mixers[i]) for i in range(4)]
    return _make_network(space, stages, 3)


def _make_stage(
    dim: int,
    depth: int,
    ratio: float,
    expand: int,
    kernels: tuple[int, ...],
    share: float,
    stacking: Stacking,
) -> Stage:
    """A stage; what has no effect keeps the defaults of `Stage`."""
    order = arrange_mixers(depth, share, stacking)
    stage = Stage(
        dim=dim,
        depth=depth,
        mlp_ratio=ratio,
        attention_ratio=share,
        stacking=stacking,
        head_dim=dim // _HEADS,
    )
    changes = {"kernels": kernels, "expand_ratio": expand} if "sam" in order else {}
    return stage.model_copy(update=changes)


def _make_network(space: SearchSpace, stages: Sequence[Stage], stem: Literal[3, 7]) -> Architecture:
    config = space.config
    s1, s2, s3, s4 = stages
    return Architecture(
        image_size=config.image_size,
        num_classes=config.num_classes,
        in_channels=config.in_channels,
        stem=Stem(kernel=stem, stride=config.stem.stride),
        stages=(s1, s2, s3, s4),
    )
