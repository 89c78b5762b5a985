"""The parts around the mixers: FFN, residual branch, block, stem, downsampling, stage.

Each is built from a `Part`, a block from two. All take and return `(B, H, W, C)`; the stem takes
the image as `(B, C, H, W)`.
The epsilons of the layer norms are those of the published code, which are not all the same.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smt_nas.costs.parts import Part, PartKind
from smt_nas.models.checkpointing import checkpoint_block
from smt_nas.models.mixers import MSA, SAM, nchw, nhwc
from smt_nas.models.training_ops import apply_depthwise, make_depthwise

BLOCK_EPS = 1e-6  # norms inside blocks and after a stage
EMBED_EPS = 1e-5  # norms of the stem and of the downsampling
MIXERS: dict[PartKind, type[SAM] | type[MSA]] = {"sam": SAM, "msa": MSA}


class FFN(nn.Module):
    """`fc2(gelu(u + dwconv(u)))` with `u = fc1(x)`."""

    def __init__(self, part: Part) -> None:
        super().__init__()
        self.fc1 = nn.Linear(part.dim, part.hidden)
        self.dwconv = make_depthwise(part.hidden, part.ffn_kernel)
        self.fc2 = nn.Linear(part.hidden, part.dim)

    def forward(self, x: Tensor) -> Tensor:
        """Mix the channels. `(B, H, W, C)` to the same."""
        u = self.fc1(x)  # (B, H, W, hidden)
        y: Tensor = self.fc2(F.gelu(u + nhwc(apply_depthwise(self.dwconv, nchw(u)))))
        return y


class DropPath(nn.Module):
    """Stochastic depth: drops the branch of a whole sample, and scales the kept ones up.

    Huang et al., "Deep Networks with Stochastic Depth", 2016.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Identity in eval mode. `(B, H, W, C)` to the same."""
        if not self.training or self.rate == 0:
            return x
        keep = 1 - self.rate
        mask = torch.empty(x.shape[0], 1, 1, 1, dtype=x.dtype, device=x.device)
        return x * mask.bernoulli_(keep).div_(keep)

    def extra_repr(self) -> str:
        """Show the rate."""
        return f"rate={self.rate:.3f}"


class LayerScale(nn.Module):
    """A learned scale per channel (Touvron et al., CaiT, 2021)."""

    def __init__(self, dim: int, init: float) -> None:
        super().__init__()
        self.init = init
        self.gamma = nn.Parameter(torch.full((dim,), init))

    def forward(self, x: Tensor) -> Tensor:
        """Scale the channels. `(B, H, W, C)` to the same."""
        return x * self.gamma


def build_scale(dim: int, init: float | None) -> nn.Module:
    """A layer scale that starts at `init`, or none."""
    return nn.Identity() if init is None else LayerScale(dim, init)


class Block(nn.Module):
    """`x + drop(scale(mixer(norm(x))))`, then the same with the FFN."""

    def __init__(self, mixer: Part, ffn: Part, layer_scale: float | None, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(mixer.dim, eps=BLOCK_EPS)
        self.mixer = MIXERS[mixer.kind](mixer)
        self.scale1 = build_scale(mixer.dim, layer_scale)
        self.norm2 = nn.LayerNorm(ffn.dim, eps=BLOCK_EPS)
        self.ffn = FFN(ffn)
        self.scale2 = build_scale(ffn.dim, layer_scale)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """Both residual branches. `(B, H, W, C)` to the same."""
        x = x + self.drop_path(self.scale1(self.mixer(self.norm1(x))))
        x = x + self.drop_path(self.scale2(self.ffn(self.norm2(x))))
        return x


class Stem(nn.Module):
    """The first two convolutions, from the image to `(B, H/4, W/4, C)` (or /2)."""

    def __init__(self, part: Part) -> None:
        super().__init__()
        (k,), dim = part.kernels, part.dim
        self.conv1 = nn.Conv2d(part.dim_in, dim, k, part.stride // 2, k // 2, bias=False)
        self.bn = nn.BatchNorm2d(dim)
        self.conv2 = nn.Conv2d(dim, dim, 2, stride=2)
        self.norm = nn.LayerNorm(dim, eps=EMBED_EPS)

    def forward(self, image: Tensor) -> Tensor:
        """Embed the image `(B, C, H, W)`."""
        x = image.contiguous(memory_format=torch.channels_last)
        x = self.conv2(F.relu(self.bn(self.conv1(x))))
        y: Tensor = self.norm(nhwc(x))
        return y


class Downsample(nn.Module):
    """Halves the resolution (rounded up) and sets the width of the next stage."""

    def __init__(self, part: Part) -> None:
        super().__init__()
        self.conv = nn.Conv2d(part.dim_in, part.dim, 3, stride=2, padding=1)
        self.norm = nn.LayerNorm(part.dim, eps=EMBED_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, H, W, C)` to `(B, H/2, W/2, C')`."""
        y: Tensor = self.norm(nhwc(self.conv(nchw(x))))
        return y


class SMTStage(nn.Module):
    """Embedding (stem or downsampling), blocks, norm. The normed map feeds the next stage too."""

    def __init__(self, embed: nn.Module, blocks: list[Block], dim: int) -> None:
        super().__init__()
        self.embed = embed
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(dim, eps=BLOCK_EPS)
        self.grad_checkpointing = False

    def forward(self, x: Tensor) -> Tensor:
        """Run the stage. Returns the normed map `(B, H, W, C)`."""
        x = self.embed(x)
        for block in self.blocks:
            recompute = self.grad_checkpointing and torch.is_grad_enabled()
            x = checkpoint_block(block, x) if recompute else block(x)
        y: Tensor = self.norm(x)
        return y


EMBEDS: dict[PartKind, type[Stem] | type[Downsample]] = {"stem": Stem, "down": Downsample}
