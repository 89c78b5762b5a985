"""`FusedSMT`: a network for inference, with all that can be computed once in its weights.

The state dict of the plain network stays the format of weights: a fused one is made from it when it
is needed, and is not trained.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

from smt_nas.arch import Architecture
from smt_nas.costs.parts import decompose
from smt_nas.models.blocks import SMTStage
from smt_nas.models.feature_maps import FeatureInfo
from smt_nas.models.fused.folding import affine_of, build_linear
from smt_nas.models.fused.fused_blocks import FusedStage
from smt_nas.models.fused.packing import is_packable, pack_layers
from smt_nas.models.mixers import nchw


class FusedSMT(nn.Module):
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

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Run the network on images `(B, C, H, W)`.

        Returns: logits `(B, classes)`; with `features_only` the four maps `(B, C_i, H_i, W_i)`.
        """
        if not self.features_only:
            return self.forward_head(self.forward_features(x))
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(nchw(x))
        return maps

    def forward_features(self, x: Tensor) -> Tensor:
        """Images `(B, C, H, W)` to the normed map of the last stage `(B, H, W, C)`."""
        for stage in self.stages:
            x = stage(x)
        return x

    def forward_head(self, x: Tensor) -> Tensor:
        """The last map `(B, H, W, C)` to logits `(B, classes)`."""
        logits: Tensor = self.head(x.mean(dim=(1, 2)))
        return logits
