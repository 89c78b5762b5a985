"""What stands around the mixers, for inference: FFN, block, stem, downsampling, stage."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from smt_nas.costs.parts import Size
from smt_nas.models.blocks import FFN, Block, Downsample, LayerScale, SMTStage, Stem
from smt_nas.models.fused.folding import (
    add_identity,
    affine_of,
    build_conv,
    build_depthwise,
    build_linear,
    fold_batch_norm,
    fold_layer_norm,
    scale_outputs,
)
from smt_nas.models.fused.fused_mixers import FusedMSA, FusedSAM
from smt_nas.models.fused.layers import ActivatedConv, ResidualLinear
from smt_nas.models.mixers import MSA, SAM, nchw, nhwc


class FusedFFN(nn.Module):
    """`fc2(gelu(dwconv(fc1(x))))`: the sum `u + dwconv(u)` is in the kernel."""

    def __init__(self, ffn: FFN, norm: nn.LayerNorm, scale: Tensor) -> None:
        super().__init__()
        dtype = ffn.fc1.weight.dtype
        self.fc1 = build_linear(fold_layer_norm(norm, affine_of(ffn.fc1)), dtype)
        dwconv = build_depthwise(add_identity(affine_of(ffn.dwconv)), dtype)
        self.dwconv = ActivatedConv(dwconv, "gelu")
        self.fc2 = ResidualLinear(build_linear(scale_outputs(affine_of(ffn.fc2), scale), dtype))

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        """Normalised `(B, H, W, C)`, and what the branch is added to, to the same."""
        y: Tensor = self.fc2(nhwc(self.dwconv(nchw(self.fc1(x)))), residual)
        return y


class FusedBlock(nn.Module):
    """`x + mixer(normalise(x))`, then the same with the FFN."""

    def __init__(self, block: Block, size: Size) -> None:
        super().__init__()
        self.norm1, self.norm2 = without_affine(block.norm1), without_affine(block.norm2)
        scale1, scale2 = scale_of(block.scale1, block.norm1), scale_of(block.scale2, block.norm2)
        self.mixer = fuse_mixer(block.mixer, block.norm1, scale1, size)
        self.ffn = FusedFFN(block.ffn, block.norm2, scale2)

    def forward(self, x: Tensor) -> Tensor:
        """Both residual branches. `(B, H, W, C)` to the same."""
        x = self.mixer(self.norm1(x), x)
        y: Tensor = self.ffn(self.norm2(x), x)
        return y


def fuse_mixer(
    mixer: nn.Module, norm: nn.LayerNorm, scale: Tensor, size: Size
) -> FusedSAM | FusedMSA:
    """A mixer with the norm before it and the layer scale `(C,)` behind it folded in."""
    if isinstance(mixer, SAM):
        return FusedSAM(mixer, norm, scale, size)
    assert isinstance(mixer, MSA)
    return FusedMSA(mixer, norm, scale)


def without_affine(norm: nn.LayerNorm) -> nn.LayerNorm:
    """The norm without scale and shift, which the layer behind it has."""
    return nn.LayerNorm(norm.normalized_shape, norm.eps, elementwise_affine=False)


def scale_of(scale: nn.Module, norm: nn.LayerNorm) -> Tensor:
    """Layer scale of a branch `(C,)`; ones where it has none."""
    if isinstance(scale, LayerScale):
        return scale.gamma.detach()
    return torch.ones_like(norm.weight).detach()


class FusedStem(nn.Module):
    """The first two convolutions, with the batch norm in the first."""

    def __init__(self, stem: Stem) -> None:
        super().__init__()
        first, dtype = stem.conv1, stem.conv1.weight.dtype
        stride, margin = first.stride[0], first.kernel_size[0] // 2
        folded = fold_batch_norm(affine_of(first), stem.bn)
        conv1 = build_conv(folded, dtype, stride=stride, padding=margin)
        self.conv1 = ActivatedConv(conv1, "relu")
        self.conv2 = build_conv(affine_of(stem.conv2), dtype, stride=2)
        self.norm = copy_norm(stem.norm)

    def forward(self, image: Tensor) -> Tensor:
        """Embed the image `(B, C, H, W)`. Returns `(B, H', W', C)`."""
        x = image.contiguous(memory_format=torch.channels_last)
        y: Tensor = self.norm(nhwc(self.conv2(self.conv1(x))))
        return y


class FusedDownsample(nn.Module):
    """Halves the resolution and sets the width of the next stage."""

    def __init__(self, down: Downsample) -> None:
        super().__init__()
        conv = down.conv
        self.conv = build_conv(affine_of(conv), conv.weight.dtype, stride=2, padding=1)
        self.norm = copy_norm(down.norm)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, H, W, C)` to `(B, H/2, W/2, C')`."""
        y: Tensor = self.norm(nhwc(self.conv(nchw(x))))
        return y


def copy_norm(norm: nn.LayerNorm) -> nn.LayerNorm:
    """A norm of its own, for inference."""
    copy = nn.LayerNorm(norm.normalized_shape, norm.eps, device="meta")
    copy.weight = nn.Parameter(norm.weight.detach().clone(), requires_grad=False)
    copy.bias = nn.Parameter(norm.bias.detach().clone(), requires_grad=False)
    return copy


class FusedStage(nn.Module):
    """Embedding, blocks, norm."""

    def __init__(self, stage: SMTStage, size: Size) -> None:
        super().__init__()
        embed = stage.embed
        if isinstance(embed, Stem):
            self.embed: nn.Module = FusedStem(embed)
        else:
            assert isinstance(embed, Downsample)
            self.embed = FusedDownsample(embed)
        blocks = [block for block in stage.blocks if isinstance(block, Block)]
        self.blocks = nn.ModuleList(FusedBlock(block, size) for block in blocks)
        self.norm = copy_norm(stage.norm)

    def forward(self, x: Tensor) -> Tensor:
        """Run the stage. Returns the normed map `(B, H, W, C)`."""
        x = self.embed(x)
        for block in self.blocks:
            x = block(x)
        y: Tensor = self.norm(x)
        return y
