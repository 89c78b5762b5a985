"""`FusedSMT`: a network for inference, with all that can be computed once in its weights.

The state dict of the plain network stays the format of weights: a fused one is made from it when it
is needed, and is not trained.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from smt_nas.arch import Architecture
from smt_nas.costs.parts import decompose
from smt_nas.models.blocks import SMTStage
from smt_nas.models.feature_maps import FeatureInfo
from smt_nas.models.fused.folding import affine_of, build_linear
from smt_nas.models.fused.fused_blocks import FusedStage
from smt_nas.models.fused.packing import is_packable, pack_layers
from smt_nas.models.staged_network import StagedNetwork


class FusedSMT(StagedNetwork):
    """The same function as the network it is made from, equal within the rounding of fp32.

    Args:
        arch: which network; its image size decides which kernels are merged, it takes all sizes.
        stages: of the plain network.
        head: of the plain network.
        features_only: return the four stage maps instead of logits.

    Attributes:
        arch: the architecture.
        stages: four `FusedStage`s, each with `embed`, `blocks`, `norm`.
        head: the classifier, `nn.Identity` where there is none.
        feature_info: what the stage maps are, as timm tells it.
    """

    def __init__(
        self,
        arch: Architecture,
        stages: Iterable[SMTStage],
        head: nn.Module,
        features_only: bool = False,
    ) -> None:
        super().__init__()
        self.arch = arch
        self.features_only = features_only
        sizes = [parts.norm.size for parts in decompose(arch).stages]
        self.stages = nn.ModuleList(map(FusedStage, stages, sizes))
        self.num_features = arch.stages[-1].dim
        self.num_classes = head.out_features if isinstance(head, nn.Linear) else 0
        self.head: nn.Module = nn.Identity()
        if isinstance(head, nn.Linear):
            self.head = build_linear(affine_of(head), head.weight.dtype)
        self.feature_info = FeatureInfo(arch)
        self.eval()

    def packed(self) -> FusedSMT:
        """The network for eager on this CPU, with weights arranged once; itself where it cannot be.

        For fp32 on x86. What is exported, compiled or saved is this one, not what is returned.
        """
        if not is_packable(next(self.parameters())):
            return self
        packed = pack_layers(self)
        assert isinstance(packed, FusedSMT)
        return packed
