"""What a network costs, by formula: exact, NumPy only, vectorised.

`estimate(space, genes)` for n networks, `of(arch)` for one, `by_part(arch)` block by block,
`bounds(space)` for the cheapest and the dearest network of a space.
"""

from smt_nas.costs.bounds import bounds
from smt_nas.costs.estimate import (
    BYTES_FP32,
    COSTS,
    Costs,
    PartCosts,
    add_up_stages,
    by_part,
    estimate,
    of,
    stage_macs,
)

__all__ = [
    "BYTES_FP32",
    "COSTS",
    "Costs",
    "PartCosts",
    "add_up_stages",
    "bounds",
    "by_part",
    "estimate",
    "of",
    "stage_macs",
]
