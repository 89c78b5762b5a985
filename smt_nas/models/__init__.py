"""How a network computes: the SMT of an `Architecture`, and weights of the published code."""

from smt_nas.models.feature_maps import FeatureInfo
from smt_nas.models.official_weights import from_official, is_official, load_official, to_official
from smt_nas.models.smt import SMT, build

__all__ = [
    "SMT",
    "FeatureInfo",
    "build",
    "from_official",
    "is_official",
    "load_official",
    "to_official",
]
