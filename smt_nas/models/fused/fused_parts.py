"""The deploy form of a `Part`'s module: what is timed where a network is timed fused."""

from __future__ import annotations

from torch import Tensor, nn

from smt_nas.costs.parts import Part
from smt_nas.models.blocks import FFN, Downsample, Stem
from smt_nas.models.fused.fused_blocks import (
    FusedDownsample,
    FusedFFN,
    FusedStem,
    copy_norm,
    fuse_mixer,
    scale_of,
    without_affine,
)
from smt_nas.models.part_modules import Branch


class FusedBranch(nn.Module):
    """One residual branch of a `FusedBlock`."""

    def __init__(self, branch: Branch, part: Part) -> None:
        super().__init__()
        norm, scale = branch.norm, scale_of(branch.scale, branch.norm)
        self.norm = without_affine(norm)
        inner = branch.inner
        self.inner = (
            FusedFFN(inner, norm, scale)
            if isinstance(inner, FFN)
            else fuse_mixer(inner, norm, scale, part.size)
        )

    def forward(self, x: Tensor) -> Tensor:
        """`(B, H, W, C)` to the same."""
        y: Tensor = self.inner(self.norm(x), x)
        return y


def fuse_part(module: nn.Module, part: Part) -> nn.Module:
    """The deploy form of what `build_part` built, equal within the rounding of fp32."""
    if isinstance(module, Branch):
        fused: nn.Module = FusedBranch(module, part)
    elif isinstance(module, Stem):
        fused = FusedStem(module)
    elif isinstance(module, Downsample):
        fused = FusedDownsample(module)
    elif isinstance(module, nn.LayerNorm):
        fused = copy_norm(module)
    else:
        fused = module  # the classifier has nothing to fold
    return fused.eval()
