"""smt-nas: find, prove and hand over the best SMT network for your hardware and budget.

>>> import smt_nas
>>> model = smt_nas.build("smt_t")                       # nn.Module; imports torch
>>> space = smt_nas.SearchSpace.load("smt")              # NumPy only
>>> smt_nas.costs.of(smt_nas.PRESETS["smt_t"]).macs
2461268480
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from smt_nas import costs
from smt_nas.arch import PRESETS, Architecture, Stage, Stem, load_arch
from smt_nas.errors import SmtNasError
from smt_nas.space import SearchSpace

if TYPE_CHECKING:
    from smt_nas.models import build

__version__ = "0.1.0"
__all__ = [
    "PRESETS",
    "Architecture",
    "SearchSpace",
    "SmtNasError",
    "Stage",
    "Stem",
    "build",
    "costs",
    "load_arch",
]


def __getattr__(name: str) -> Any:
    """Import what needs torch only when it is asked for."""
    if name == "build":
        from smt_nas.models import build

        return build
    raise AttributeError(f"module 'smt_nas' has no attribute {name!r}")
