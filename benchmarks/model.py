"""Times our SMT against a plain one: `python benchmarks/model.py [--quick] [--views]`.

The plain one is written here as the published network is described: tokens (B, N, C), projections
apart (q and k|v, s and v), copies to (B, C, H, W) and back around every convolution, attention
spelled out with a softmax, heads interleaved for a grouped 1x1 convolution. Both hold the same
weights, and their outputs are compared before anything is timed. They run in turns A, B, B, A in
one process on one thread; the ratio is the median of the paired ratios, with a bootstrap interval.
`--views` takes the copies to (B, C, H, W) out of the plain one: what is left of the gain then comes
from the other changes.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from smt_nas.arch import PRESETS, Architecture, Stage, preset
from smt_nas.models import build, to_official

ToMap = Callable[[Tensor, int, int], Tensor]


def map_view(x: Tensor, h: int, w: int) -> Tensor:
    """Tokens (B, N, C) to a map (B, C, H, W), as a view."""
    b, _, c = x.shape
    return x.transpose(1, 2).reshape(b, c, h, w)


def map_copy(x: Tensor, h: int, w: int) -> Tensor:
    """Tokens (B, N, C) to a map (B, C, H, W), contiguous."""
    return map_view(x, h, w).contiguous()


def to_tokens(x: Tensor) -> Tensor:
    """A map (B, C, H, W) to tokens (B, N, C)."""
    return x.flatten(2).transpose(1, 2)


class PlainSAM(nn.Module):
    """Scale-aware modulation on tokens."""

    def __init__(self, stage: Stage, to_map: ToMap) -> None:
        super().__init__()
        self.to_map = to_map
        c, n = stage.dim, len(stage.kernels)
        wide = c * stage.expand_ratio
        self.n = n
        self.v, self.s, self.proj = nn.Linear(c, c), nn.Linear(c, c), nn.Linear(c, c)
        for i, k in enumerate(stage.kernels):
            conv = nn.Conv2d(c // n, c // n, k, padding=k // 2, groups=c // n)
            self.add_module(f"local_conv_{i + 1}", conv)
        self.proj0 = nn.Conv2d(c, wide, 1, groups=c // n)
        self.bn = nn.BatchNorm2d(wide)
        self.proj1 = nn.Conv2d(wide, c, 1)

    def forward(self, x: Tensor, h: int, w: int) -> Tensor:
        """Tokens (B, N, C) to the same."""
        b, _, c = x.shape
        v = self.v(x)
        heads = self.to_map(self.s(x), h, w).reshape(b, self.n, c // self.n, h, w)
        mixed = [self.get_submodule(f"local_conv_{i + 1}")(heads[:, i]) for i in range(self.n)]
        y = torch.stack(mixed, dim=2).reshape(b, c, h, w)  # channel c * n + i: c of head i
        modulator = self.proj1(F.gelu(self.bn(self.proj0(y))))
        out: Tensor = self.proj(to_tokens(modulator) * v)
        return out


class PlainMSA(nn.Module):
    """Attention on tokens, with the depthwise convolution of the values."""

    def __init__(self, stage: Stage, to_map: ToMap) -> None:
        super().__init__()
        self.to_map = to_map
        c = stage.dim
        self.heads, self.d = stage.heads, stage.head_dim
        self.q, self.kv, self.proj = nn.Linear(c, c), nn.Linear(c, 2 * c), nn.Linear(c, c)
        self.local_conv = nn.Conv2d(c, c, 3, padding=1, groups=c)

    def forward(self, x: Tensor, h: int, w: int) -> Tensor:
        """Tokens (B, N, C) to the same."""
        b, n, c = x.shape
        q = self.q(x).reshape(b, n, self.heads, self.d).permute(0, 2, 1, 3)
        k, v = self.kv(x).reshape(b, n, 2, self.heads, self.d).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-2, -1) * self.d**-0.5).softmax(dim=-1)
        local = self.local_conv(self.to_map(v.transpose(1, 2).reshape(b, n, c), h, w))
        y = (weights @ v).transpose(1, 2).reshape(b, n, c) + to_tokens(local)
        out: Tensor = self.proj(y)
        return out


class PlainDWConv(nn.Module):
    """Depthwise 3x3 on tokens."""

    def __init__(self, dim: int, to_map: ToMap) -> None:
        super().__init__()
        self.to_map = to_map
        self.dwconv = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)

    def forward(self, x: Tensor, h: int, w: int) -> Tensor:
        """Tokens (B, N, C) to the same."""
        return to_tokens(self.dwconv(self.to_map(x, h, w)))


class PlainFFN(nn.Module):
    """FFN on tokens."""

    def __init__(self, stage: Stage, to_map: ToMap) -> None:
        super().__init__()
        self.to_map = to_map
        self.fc1 = nn.Linear(stage.dim, stage.hidden)
        self.dwconv = PlainDWConv(stage.hidden, to_map)
        self.fc2 = nn.Linear(stage.hidden, stage.dim)

    def forward(self, x: Tensor, h: int, w: int) -> Tensor:
        """Tokens (B, N, C) to the same."""
        u = self.fc1(x)
        y: Tensor = self.fc2(F.gelu(u + self.dwconv(u, h, w)))
        return y


class PlainBlock(nn.Module):
    """Pre-norm residual block on tokens."""

    def __init__(self, stage: Stage, mixer: str, to_map: ToMap) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(stage.dim, eps=1e-6)
        self.attn = (PlainSAM if mixer == "sam" else PlainMSA)(stage, to_map)
        self.norm2 = nn.LayerNorm(stage.dim, eps=1e-6)
        self.mlp = PlainFFN(stage, to_map)

    def forward(self, x: Tensor, h: int, w: int) -> Tensor:
        """Tokens (B, N, C) to the same."""
        x = x + self.attn(self.norm1(x), h, w)
        y: Tensor = x + self.mlp(self.norm2(x), h, w)
        return y


class PlainEmbed(nn.Module):
    """Convolution(s), tokens, norm: the stem where `stem` is given, else a downsampling."""

    def __init__(self, c_in: int, c_out: int, stem: int | None) -> None:
        super().__init__()
        self.stem = stem is not None
        if stem is None:
            self.proj = nn.Conv2d(c_in, c_out, 3, stride=2, padding=1)
        else:
            self.conv = nn.Sequential(
                nn.Conv2d(c_in, c_out, stem, stride=2, padding=stem // 2, bias=False),
                nn.BatchNorm2d(c_out),
                nn.ReLU(),
                nn.Conv2d(c_out, c_out, 2, stride=2),
            )
        self.norm = nn.LayerNorm(c_out, eps=1e-5)

    def forward(self, x: Tensor) -> tuple[Tensor, int, int]:
        """A map (B, C, H, W) to tokens with their height and width."""
        x = self.conv(x) if self.stem else self.proj(x)
        tokens: Tensor = self.norm(to_tokens(x))
        return tokens, x.shape[2], x.shape[3]


class PlainSMT(nn.Module):
    """The network on tokens, with the names of the published code."""

    def __init__(self, arch: Architecture, to_map: ToMap) -> None:
        super().__init__()
        self.to_map = to_map
        c_in, stem = arch.in_channels, arch.stem.kernel
        for i, stage in enumerate(arch.stages, start=1):
            embed = PlainEmbed(c_in, stage.dim, stem if i == 1 else None)
            self.add_module(f"patch_embed{i}", embed)
            blocks = nn.ModuleList(PlainBlock(stage, m, to_map) for m in stage.mixers)
            self.add_module(f"block{i}", blocks)
            self.add_module(f"norm{i}", nn.LayerNorm(stage.dim, eps=1e-6))
            c_in = stage.dim
        self.head = nn.Linear(c_in, arch.num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) to logits (B, classes)."""
        for i in range(1, 5):
            x, h, w = self.get_submodule(f"patch_embed{i}")(x)
            for block in self.get_submodule(f"block{i}").children():
                x = block(x, h, w)
            x = self.get_submodule(f"norm{i}")(x)
            if i < 4:
                x = self.to_map(x, h, w)
        logits: Tensor = self.head(x.mean(dim=1))
        return logits


def timed_ms(run: Callable[[], object]) -> float:
    """One call, in milliseconds."""
    start = time.perf_counter()
    run()
    return (time.perf_counter() - start) * 1e3


def compare(
    ours: Callable[[Tensor], object], plain: Callable[[Tensor], object], x: Tensor, rounds: int
) -> dict[str, float]:
    """Time both in turns A, B, B, A; two pairs a round."""
    for _ in range(3):
        ours(x), plain(x)
    a_ms, b_ms = [], []
    for _ in range(rounds):
        a1, b1 = timed_ms(lambda: plain(x)), timed_ms(lambda: ours(x))
        b2, a2 = timed_ms(lambda: ours(x)), timed_ms(lambda: plain(x))
        a_ms += [a1, a2]
        b_ms += [b1, b2]
    ratios = np.array(a_ms) / np.array(b_ms)  # (2 * rounds,)
    draws = np.random.default_rng(0).choice(ratios, (2000, len(ratios)))
    low, high = np.percentile(np.median(draws, axis=1), [2.5, 97.5])
    return {
        "plain_ms": statistics.median(a_ms),
        "ours_ms": statistics.median(b_ms),
        "ratio": float(np.median(ratios)),
        "low": float(low),
        "high": float(high),
    }


def models(arch: Architecture, to_map: ToMap) -> tuple[nn.Module, nn.Module]:
    """Our network and the plain one, with the same weights, in eval mode."""
    ours = build(arch, generator=torch.Generator().manual_seed(0)).eval()
    plain = PlainSMT(arch, to_map).eval()
    plain.load_state_dict(to_official(ours))
    return ours, plain


def cpu_model() -> str:
    """The CPU as Linux names it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Times our SMT against a plain one.")
    parser.add_argument("--preset", nargs="+", default=["smt_t"], choices=sorted(PRESETS))
    parser.add_argument("--size", nargs="+", type=int, default=[224], help="pixels")
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--rounds", type=int, default=40, help="four forwards each")
    parser.add_argument("--views", action="store_true", help="plain network without layout copies")
    parser.add_argument("--quick", action="store_true", help="5 rounds")
    return parser.parse_args()


def main() -> None:
    """Print the table."""
    args = arguments()
    torch.set_num_threads(1)
    rounds = 5 if args.quick else args.rounds
    print(f"torch {torch.__version__}, 1 thread, fp32, {cpu_model()}, {rounds} rounds A B B A")
    print(f"plain: {'views' if args.views else 'layout copies'}; load {os.getloadavg()[0]:.1f}")
    print(
        f"{'network':8} {'px':>4} {'batch':>5} {'plain ms':>9} {'ours ms':>9} plain/ours (95 % CI)"
    )
    for name, size, batch in itertools.product(args.preset, args.size, args.batch):
        ours, plain = models(preset(name), map_view if args.views else map_copy)
        x = torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(1))
        with torch.inference_mode():
            torch.testing.assert_close(ours(x), plain(x), atol=1e-5, rtol=1e-4)
            r = compare(ours, plain, x, rounds)
        print(
            f"{name:8} {size:4} {batch:5} {r['plain_ms']:9.1f} {r['ours_ms']:9.1f} "
            f"{r['ratio']:.2f} ({r['low']:.2f} .. {r['high']:.2f})"
        )


if __name__ == "__main__":
    main()
