"""What an evaluator's figures rest on, as values. `report/evidence.py` finds the words.

One class a basis, told apart in run.yaml by the word `basis`. An evaluator of your own uses the one
that is true of it, or `UnknownEvidence`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from smt_nas.evaluators.published_agreement import BenchAgreement, RankAgreement
from smt_nas.evaluators.topology.fits import FamilyAgreement

COVERAGE = "coverage"
"""Component: share of a supernet's steps that trained the rarest choice of a network."""
INTERVAL_FACTOR = "interval_factor"
"""Component: by which a network's intervals are wider for that; 1 where they are not."""


class _Evidence(BaseModel):
    """Common to all.

    Attributes:
        evaluator: its name in results.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    evaluator: str


class PublishedEvidence(_Evidence):
    """Networks whose papers tell their accuracy.

    Attributes:
        networks, families: how many.
        mean_error: mean absolute error in a family left out, in points.
        known_members: of that family, whose accuracy is told.
        agreement: with the shipped bench; None where it is not known.
        relative: the figures are scores that order networks: their images are not ImageNet's.
    """

    basis: Literal["published"] = "published"
    networks: int
    families: int
    mean_error: float
    known_members: int
    agreement: BenchAgreement | None = None
    relative: bool = False


class BenchEvidence(_Evidence):
    """Networks of a bench, really trained.

    Attributes:
        bench: one of the user's own; None for the shipped one.
        networks: of that bench; None for the shipped one.
        agreement: on networks held out; None where it is not known.
    """

    basis: Literal["bench"] = "bench"
    bench: str | None = None
    networks: int | None = None
    agreement: BenchAgreement | None = None


class FamilyEvidence(_Evidence):
    """Published ImageNet networks, for costs and topology.

    Attributes:
        agreement: with families left out; None where it is not known.
        relative: as in `PublishedEvidence`.
    """

    basis: Literal["published topology"] = "published topology"
    agreement: FamilyAgreement | None = None
    relative: bool = False


class CombinedEvidence(_Evidence):
    """Published networks for the level, those of a bench for the topology.

    Until `FamilyEvidence`, `joint` rested on this at full size too.

    Attributes:
        bench: one of the user's own; None for the shipped one.
        networks: of that bench; None for the shipped one.
        agreement: on networks held out; None where it is not known.
        without_attention: agreement of what counted at full size, in runs of then.
        relative: as in `PublishedEvidence`.
    """

    basis: Literal["published and bench"] = "published and bench"
    bench: str | None = None
    networks: int | None = None
    agreement: BenchAgreement | None = None
    without_attention: RankAgreement | None = None
    relative: bool = False


class ProxyEvidence(_Evidence):
    """Measures of untrained networks.

    Attributes:
        agreement: with the shipped bench; None where it is not known.
        no_better_than_params: of the figure and its measures, those that order networks of equal
            MACs no better than #params do.
    """

    basis: Literal["proxy"] = "proxy"
    agreement: BenchAgreement | None = None
    no_better_than_params: tuple[str, ...] = ()


class TrainingEvidence(_Evidence):
    """Trainings of the candidates themselves.

    Attributes:
        data: as the user named it.
        images: that are trained on.
        rungs: epochs after which networks are compared; the last are all.
        guess: agreement of what chooses the first networks; None where it is not known.
        few_updates: of a training to the end, where they are too few to learn much; None elsewhere.
    """

    basis: Literal["training"] = "training"
    data: str
    images: int
    rungs: tuple[int, ...]
    guess: BenchAgreement | None = None
    few_updates: int | None = None


class SupernetEvidence(_Evidence):
    """A supernet, with whose weights each network is rated.

    Attributes:
        data: as the user named it.
        space: name of its space.
        steps: of its training.
        digest: of its weights and data.
        rare: choices of the space that it was hardly trained for; their networks are not rated.
        thin: choices that it was thinly trained for; the intervals of their networks are wider.
    """

    basis: Literal["supernet"] = "supernet"
    data: str
    space: str
    steps: int
    digest: str
    rare: tuple[str, ...] = ()
    thin: tuple[str, ...] = ()


class FunctionEvidence(_Evidence):
    """A user's own function.

    Attributes:
        importable: it has a name by which `smt-nas validate` finds it.
    """

    basis: Literal["function"] = "function"
    importable: bool = False


class TableEvidence(_Evidence):
    """A table of networks."""

    basis: Literal["table"] = "table"
    networks: int


class UnknownEvidence(_Evidence):
    """Nothing is known of how well its figures order networks.

    Attributes:
        description: what a figure is, in a few words.
    """

    basis: Literal["unknown"] = "unknown"
    description: str


AnyEvidence = Annotated[
    PublishedEvidence
    | BenchEvidence
    | CombinedEvidence
    | FamilyEvidence
    | ProxyEvidence
    | TrainingEvidence
    | SupernetEvidence
    | FunctionEvidence
    | TableEvidence
    | UnknownEvidence,
    Field(discriminator="basis"),
]
