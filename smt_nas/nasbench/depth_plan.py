"""Which networks a bench trains that is to tell what depth is worth at equal MACs.

    depth     4 to 28 blocks at equal MACs, for several splits of the blocks among the stages
    width     the same blocks at equal MACs, the width growing slowly or fast over the stages
    pattern   the published SMT-T and -S scaled down: their depths at narrower widths; both
    region    drawn from the space, of shapes that were published elsewhere
    outside   drawn from the space, of shapes that were not
    band      drawn from the space

The cheapest ladder of the published split comes first; then all kinds take turns, so that any
beginning is a sample. A longer plan begins with the shorter one's networks.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from smt_nas import costs
from smt_nas.arch import PRESETS
from smt_nas.nasbench.equal_macs import TOLERANCE, Depths, Design, Four, fit_widths
from smt_nas.nasbench.plan import Candidate, PlannedNetwork, draw_bands, take_in_turn
from smt_nas.space import Genes, SearchSpace

RegionTest = Callable[[SearchSpace, Genes], NDArray[np.bool_]]
"""Which of (n, G) genes have a shape like published networks."""

BLOCKS = (4, 28, 13, 8, 20, 6, 16, 10, 24)
"""The rungs of a ladder, in an order whose every beginning is spread."""
PUBLISHED = "published"
SPLITS: dict[str, Four] = {
    PUBLISHED: (2, 2, 8, 1),  # SMT-T's
    "even": (1, 1, 1, 1),
    "early": (3, 4, 5, 1),
    "late": (1, 1, 6, 5),
}
"""How the blocks of a ladder are shared among the stages."""
GROWTHS: dict[str, Four] = {
    "1.4": (1.0, 1.4, 2.0, 2.8),
    "2.8": (1.0, 2.8, 8.0, 16.0),
    "1.7": (1.0, 1.7, 2.9, 4.9),
    "2.4": (1.0, 2.4, 5.8, 13.8),
}
"""Widths of the stages in units of the first; the ladders have 1, 2, 4, 8."""
STEPS = 3  # targets of MACs of the ladders
_OTHER_BLOCKS = (6, 20, 13, 8, 28, 10, 16, 24)  # of 4 all splits are the same
_WIDTH_BLOCKS = (13, 8, 20)
_MOST_BLOCKS = max(BLOCKS)
_TURNS = ("pattern", "ladder", "region", "depth", "width", "outside", "ladder", "depth", "band")


def plan_depth(
    space: SearchSpace,
    n: int,
    low: float,
    high: float,
    seed: int,
    trainings: int,
    in_region: RegionTest,
) -> list[PlannedNetwork]:
    """The first n networks to train.

    Args:
        space: gives the image size, the classes and the networks that are drawn.
        n: networks.
        low: fewest MACs of one.
        high: most MACs of one; the ladders stand at geometric steps from the one to the other.
        seed: of the draw.
        trainings: of every network, at least; a fifth of them has three anyway.
        in_region: which shapes are like published ones.

    Raises:
        ConfigError: the space has too few networks in the range, or `trainings` is not 1, 2 or 3.
    """
    targets = list_targets(low, high)
    cheapest = list(list_ladders(space, targets[:1], [PUBLISHED], BLOCKS))
    others = [split for split in SPLITS if split != PUBLISHED]
    seen = set[str]()

    def keep_shallow(genes: Genes) -> NDArray[np.bool_]:
        return np.asarray(_count_blocks(space, genes) <= _MOST_BLOCKS)

    def keep_region(genes: Genes) -> NDArray[np.bool_]:
        return np.asarray(keep_shallow(genes) & in_region(space, genes))

    def keep_outside(genes: Genes) -> NDArray[np.bool_]:
        return np.asarray(keep_shallow(genes) & ~in_region(space, genes))

    drawn = {"region": keep_region, "outside": keep_outside, "band": keep_shallow}
    streams = {
        "ladder": list_ladders(space, targets, [PUBLISHED], BLOCKS),
        "depth": list_ladders(space, targets, others, _OTHER_BLOCKS),
        "width": _list_widths(space, targets),
        "pattern": _list_patterns(space, targets),
        **{k: draw_bands(space, low, high, seed, seen, k, keep) for k, keep in drawn.items()},
    }
    turns = itertools.chain(itertools.repeat("ladder", len(cheapest)), itertools.cycle(_TURNS))
    return take_in_turn(turns, streams, n, low, high, seen, trainings)


def list_targets(low: float, high: float) -> list[float]:
    """MACs of the ladders, the least first, all of whose networks are in the range."""
    room = 1 + TOLERANCE
    return [float(macs) for macs in np.geomspace(low * room, high / room, STEPS)]


def share_blocks(split: Four, blocks: int) -> Depths:
    """Depths of four stages in the proportions of a split, each 1 at least."""
    depths, wanted = [1, 1, 1, 1], [blocks * part / sum(split) for part in split]
    while sum(depths) < blocks:
        lacking = [want - depth for want, depth in zip(wanted, depths, strict=True)]
        depths[lacking.index(max(lacking))] += 1
    d1, d2, d3, d4 = depths
    return d1, d2, d3, d4


def list_ladders(
    space: SearchSpace, targets: Sequence[float], splits: Sequence[str], rungs: Sequence[int]
) -> Iterator[Candidate]:
    """`depth:even-0:13` is the network of 13 blocks, split evenly, at the least MACs.

    A rung that cannot be had at the MACs is left out.
    """
    for step, blocks, split in itertools.product(range(len(targets)), rungs, splits):
        design = Design(share_blocks(SPLITS[split], blocks))
        yield from _fit(space, f"depth:{split}-{step}:{blocks}", design, targets[step])


def _list_widths(space: SearchSpace, targets: Sequence[float]) -> Iterator[Candidate]:
    """`width:13-0:1.4` has 13 blocks, and widths that grow by 1.4 a stage."""
    for blocks, step, growth in itertools.product(_WIDTH_BLOCKS, range(len(targets)), GROWTHS):
        design = Design(share_blocks(SPLITS[PUBLISHED], blocks), growth=GROWTHS[growth])
        yield from _fit(space, f"width:{blocks}-{step}:{growth}", design, targets[step])


def _list_patterns(space: SearchSpace, targets: Sequence[float]) -> Iterator[Candidate]:
    """`pattern:t-0:depths` has the depths of SMT-T, `pattern:t-0:both` is shallower and wider."""
    for step, name in itertools.product(range(len(targets)), ("t", "s")):
        for way, design in scale_preset(space, f"smt_{name}", targets[step]).items():
            yield from _fit(space, f"pattern:{name}-{step}:{way}", design, targets[step])


def scale_preset(space: SearchSpace, name: str, macs: float) -> dict[str, Design]:
    """Designs of a preset at other MACs: `depths` keeps its depths, `both` scales them too.

    MACs go with the depth and with the square of the width; `both` scales each by the cube root.
    """
    s1, s2, s3, s4 = PRESETS[name].stages
    published = Design(
        depths=(s1.depth, s2.depth, s3.depth, s4.depth),
        ratios=(s1.mlp_ratio, s2.mlp_ratio, s3.mlp_ratio, s4.mlp_ratio),
        growth=(1.0, s2.dim / s1.dim, s3.dim / s1.dim, s4.dim / s1.dim),
    )
    whole = costs.of(published.build(space, [s1.dim, s2.dim, s3.dim, s4.dim])).macs
    scale = (macs / whole) ** (1 / 3)
    d1, d2, d3, d4 = (max(1, round(depth * scale)) for depth in published.depths)
    return {"depths": published, "both": replace(published, depths=(d1, d2, d3, d4))}


def _fit(space: SearchSpace, group: str, design: Design, macs: float) -> Iterator[Candidate]:
    arch = fit_widths(space, design, macs)
    if arch is not None:
        yield group, arch


def _count_blocks(space: SearchSpace, genes: Genes) -> NDArray[np.int64]:
    total = np.zeros(len(genes), dtype=np.int64)
    for stage in range(4):
        sam, msa = space.blocks(genes, stage)
        total += sam + msa
    return total
