"""Whether a search keeps to the region of published designs, and where a network lies in it.

An estimate that rests on published networks says little of shapes that nobody trained, so a search
that trusts it keeps to theirs. What trains its candidates, alone or in a supernet, finds out by
itself, and a user's own function is the user's to trust.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from smt_nas.arch import Architecture
from smt_nas.errors import ConfigError
from smt_nas.evaluators import Evaluator, TrainingEvaluator
from smt_nas.evaluators.evidence import (
    FunctionEvidence,
    SupernetEvidence,
    TableEvidence,
    UnknownEvidence,
)
from smt_nas.evaluators.predictors.reference import is_small
from smt_nas.evaluators.topology import design_region
from smt_nas.evaluators.topology.design_region import DesignRegion
from smt_nas.evaluators.topology.shapes import Shapes
from smt_nas.space import Genes, SearchSpace

Region = Literal["published", "none"]
_OWN = (SupernetEvidence, FunctionEvidence, TableEvidence, UnknownEvidence)


@dataclass(frozen=True)
class Design:
    """Where the shape of a network lies among published ones.

    Attributes:
        distance: to the third nearest, in standard deviations.
        limit: at which the region of published designs ends.
        nearest: names of the three nearest.
    """

    distance: float
    limit: float
    nearest: tuple[str, ...]


def choose_region(
    wanted: Region | None,
    space: SearchSpace,
    evaluator: Evaluator | None,
    handed_in: bool = False,
) -> Region:
    """The region of a search.

    Args:
        wanted: what it asks for; None where it leaves it open.
        space: that is searched.
        evaluator: of the search; None where formulas suffice.
        handed_in: the evaluator is a program's own.

    Raises:
        ConfigError: one is asked for, and nothing was published for such images.
    """
    small = is_small(space.config)
    if wanted == "published" and small:
        raise ConfigError(
            f"--region published: published networks are of 192 px and more (got space "
            f"{space.name}, of {space.config.image_size} px with a stem for small images). Drop it."
        )
    if wanted is not None:
        return wanted
    if small or evaluator is None or handed_in or isinstance(evaluator, TrainingEvaluator):
        return "none"
    return "none" if isinstance(evaluator.evidence, _OWN) else "published"


def load_region(region: Region | None) -> DesignRegion | None:
    """The region, where a search keeps to one."""
    return design_region.load_region() if region == "published" else None


def place_design(arch: Architecture) -> Design | None:
    """Where a network lies; None of one for small images."""
    return None if is_small(arch) else _place(Shapes.of_archs([arch]))[0]


def place_designs(space: SearchSpace, genes: Genes) -> list[Design] | list[None]:
    """The same of the networks of (n, G) genes."""
    if is_small(space.config):
        return [None] * len(genes)
    return _place(Shapes.of_genes(space, genes))


def _place(shapes: Shapes) -> list[Design]:
    region = design_region.load_region()
    rows = zip(region.measure(shapes).tolist(), region.find_nearest(shapes), strict=True)
    return [Design(distance, region.limit, nearest) for distance, nearest in rows]
