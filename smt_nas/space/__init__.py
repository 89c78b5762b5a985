"""Which networks are allowed: a YAML of options, integer genes (n, G), architectures.

Every gene indexes into a short tuple of options. Genes without effect (the kernels of a stage that
has no SAM block, the heads of one that has no MSA block, two ways to write the same block order)
are set to their first option by `canonical`, so equal networks have equal genes.
"""

from smt_nas.space.patterns import Genes
from smt_nas.space.search_space import Gene, SearchSpace
from smt_nas.space.space_config import SpaceConfig, StageOptions, StemOptions

__all__ = ["Gene", "Genes", "SearchSpace", "SpaceConfig", "StageOptions", "StemOptions"]
