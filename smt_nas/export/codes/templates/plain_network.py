"""SMT in plain torch: what `models/` computes, in one file that can leave the house.

`cut_lines` takes from it what a network needs: a line marked `# if NEED` is left out where the need
is not there, and with it the block that it opens.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Stage(NamedTuple):
    """Blocks at one resolution and width.

    Attributes:
        dim: channels.
        hidden: channels inside the FFN.
        mixers: the token mixer of each block.
        kernels: depthwise kernel sizes of SAM, one a head.  # if sam
        expand: width inside SAM, as a multiple of `dim`.  # if sam
        head_dim: channels of an attention head.  # if msa
        ffn_kernel: of the depthwise convolution in the FFN.
    """

    dim: int
    hidden: int
    mixers: tuple[str, ...]
    kernels: tuple[int, ...] = ()  # if sam
    expand: int = 2  # if sam
    head_dim: int = 32  # if msa
    ffn_kernel: int = 3


class Network(NamedTuple):
    """A whole network.

    Attributes:
        stages: each halves the resolution of the one before.
        num_classes: outputs of the head.
        in_channels: channels of the images.
        stem_kernel: of the first convolution.
        stem_stride: pixels per position of the first stage.
        layer_scale: initial scale of the residual branches; None for none.  # if layer scale
        drop_path: stochastic depth of the last block, growing linearly from 0; training only.
    """

    stages: tuple[Stage, ...]
    num_classes: int = 1000
    in_channels: int = 3
    stem_kernel: int = 3
    stem_stride: int = 4
    layer_scale: float | None = None  # if layer scale
    drop_path: float = 0.0


def depthwise(channels: int, kernel: int) -> nn.Conv2d:
    """A depthwise convolution that keeps the resolution."""
    return nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels)


def nchw(x: Tensor) -> Tensor:
    """View (B, H, W, C) as (B, C, H, W)."""
    return x.permute(0, 3, 1, 2)


def nhwc(x: Tensor) -> Tensor:
    """View (B, C, H, W) as (B, H, W, C)."""
    return x.permute(0, 2, 3, 1)


class SAM(nn.Module):  # if sam
    """Scale-aware modulation: a modulator of several kernel sizes times the values."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        dim, heads, wide = stage.dim, len(stage.kernels), stage.dim * stage.expand
        self.sv = nn.Linear(dim, 2 * dim)  # context and value
        self.heads = nn.ModuleList(depthwise(dim // heads, k) for k in stage.kernels)
        # a kernel over the axis of heads: group c joins channel c of every head
        self.aggregate = nn.Conv2d(dim // heads, wide, (heads, 1), groups=dim // heads)
        self.bn = nn.BatchNorm2d(wide)
        self.modulate = nn.Linear(wide, dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Mix the positions of (B, H, W, C)."""
        b, h, w, c = x.shape
        s, v = self.sv(x).split(c, dim=-1)
        parts = s.split(c // len(self.heads), dim=-1)
        scales = [
            nhwc(conv(nchw(part))).flatten(1, 2)  # (B, HW, C/heads)
            for conv, part in zip(self.heads, parts, strict=True)
        ]
        y = nchw(torch.stack(scales, dim=1))  # (B, C/heads, heads, HW)
        y = F.gelu(self.bn(self.aggregate(y)))  # (B, expand * C, 1, HW)
        m = self.modulate(nhwc(y)).reshape(b, h, w, c)
        out: Tensor = self.proj(m * v)
        return out


class MSA(nn.Module):  # if msa
    """Self-attention over all positions, and a depthwise convolution of the values."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.head_dim = stage.head_dim
        self.qkv = nn.Linear(stage.dim, 3 * stage.dim)
        self.local = depthwise(stage.dim, 3)
        self.proj = nn.Linear(stage.dim, stage.dim)

    def forward(self, x: Tensor) -> Tensor:
        """Mix the positions of (B, H, W, C)."""
        b, h, w, c = x.shape
        qkv = self.qkv(x)
        q, k, v = qkv.reshape(b, h * w, 3, -1, self.head_dim).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v)  # (B, heads, HW, head_dim)
        y = y.transpose(1, 2).reshape(b, h, w, c)
        out: Tensor = self.proj(y + nhwc(self.local(nchw(qkv[..., 2 * c :]))))
        return out


MIXERS: dict[str, type[nn.Module]] = {
    "sam": SAM,  # if sam
    "msa": MSA,  # if msa
}


class FFN(nn.Module):
    """Mixes the channels, with a depthwise convolution between its two layers."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.fc1 = nn.Linear(stage.dim, stage.hidden)
        self.dwconv = depthwise(stage.hidden, stage.ffn_kernel)
        self.fc2 = nn.Linear(stage.hidden, stage.dim)

    def forward(self, x: Tensor) -> Tensor:
        """Mix the channels of (B, H, W, C)."""
        u = self.fc1(x)
        y: Tensor = self.fc2(F.gelu(u + nhwc(self.dwconv(nchw(u)))))
        return y


class LayerScale(nn.Module):  # if layer scale
    """A learned scale per channel."""

    def __init__(self, dim: int, init: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((dim,), init))

    def forward(self, x: Tensor) -> Tensor:
        """Scale the channels of (B, H, W, C)."""
        return x * self.gamma


def build_scale(dim: int, init: float | None) -> nn.Module:  # if layer scale
    """A layer scale that starts at `init`, or none."""
    return nn.Identity() if init is None else LayerScale(dim, init)


class DropPath(nn.Module):
    """Stochastic depth: in training, leaves out the branch of some of the samples."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Drop samples of (B, H, W, C), and scale the others up."""
        if not self.training or self.rate == 0:
            return x
        keep = 1 - self.rate
        mask = torch.empty(x.shape[0], 1, 1, 1, dtype=x.dtype, device=x.device)
        return x * mask.bernoulli_(keep).div_(keep)


class Block(nn.Module):
    """A token mixer and an FFN, each normed before and added to what came in."""

    def __init__(self, network: Network, stage: Stage, mixer: str, rate: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(stage.dim, eps=1e-6)
        self.mixer = MIXERS[mixer](stage)
        self.scale1 = build_scale(stage.dim, network.layer_scale)  # if layer scale
        self.norm2 = nn.LayerNorm(stage.dim, eps=1e-6)
        self.ffn = FFN(stage)
        self.scale2 = build_scale(stage.dim, network.layer_scale)  # if layer scale
        self.drop_path = DropPath(rate)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) to the same."""
        y = self.mixer(self.norm1(x))
        y = self.scale1(y)  # if layer scale
        x = x + self.drop_path(y)
        y = self.ffn(self.norm2(x))
        y = self.scale2(y)  # if layer scale
        x = x + self.drop_path(y)
        return x


class Stem(nn.Module):
    """Two convolutions, from images to the first map."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        kernel, dim = network.stem_kernel, network.stages[0].dim
        stride = network.stem_stride // 2
        self.conv1 = nn.Conv2d(network.in_channels, dim, kernel, stride, kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(dim)
        self.conv2 = nn.Conv2d(dim, dim, 2, stride=2)
        self.norm = nn.LayerNorm(dim, eps=1e-5)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) to (B, H, W, C)."""
        x = images.contiguous(memory_format=torch.channels_last)
        y: Tensor = self.norm(nhwc(self.conv2(F.relu(self.bn(self.conv1(x))))))
        return y


class Downsample(nn.Module):
    """Halves the resolution, and sets the width of the next stage."""

    def __init__(self, dim_in: int, dim: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(dim_in, dim, 3, stride=2, padding=1)
        self.norm = nn.LayerNorm(dim, eps=1e-5)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) to (B, H/2, W/2, C')."""
        y: Tensor = self.norm(nhwc(self.conv(nchw(x))))
        return y


class SMTStage(nn.Module):
    """The stem or a downsampling, blocks, and a norm; the next stage takes the normed map."""

    def __init__(self, embed: nn.Module, blocks: list[Block], dim: int) -> None:
        super().__init__()
        self.embed = embed
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(dim, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """What came before, to the normed map (B, H, W, C)."""
        x = self.embed(x)
        for block in self.blocks:
            x = block(x)
        y: Tensor = self.norm(x)
        return y


def build_stages(network: Network) -> nn.ModuleList:
    """The stages, with drop path growing linearly over all blocks."""
    last = max(1, sum(len(stage.mixers) for stage in network.stages) - 1)
    rates = iter([network.drop_path * i / last for i in range(last + 1)])
    stages = nn.ModuleList()
    for i, stage in enumerate(network.stages):
        embed = Downsample(network.stages[i - 1].dim, stage.dim) if i else Stem(network)
        blocks = [Block(network, stage, mixer, next(rates)) for mixer in stage.mixers]
        stages.append(SMTStage(embed, blocks, stage.dim))
    return stages


@torch.no_grad()
def init_weights(module: nn.Module) -> None:
    """Fresh weights of one module as SMT draws them; for `nn.Module.apply`."""
    if isinstance(module, nn.Linear):
        module.weight.normal_(0, 0.02)
        module.bias.zero_()
    elif isinstance(module, nn.Conv2d):
        fan_out = module.kernel_size[1] ** 2 * module.out_channels // module.groups
        module.weight.normal_(0, math.sqrt(2 / fan_out))
        if module.bias is not None:
            module.bias.zero_()
    elif isinstance(module, SAM):  # if sam
        module.modulate.weight.normal_(0, math.sqrt(2 / module.modulate.out_features))
