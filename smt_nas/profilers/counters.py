"""The witnesses: op counters of other people, run on the network that is built.

Our own counts are formulas (`smt_nas.costs`); these three confirm them on real modules. They do
not agree with each other, since none counts everything, so each says what it leaves out and adds.
1 multiply-accumulate = 1, for one image.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import metadata
from types import ModuleType

import torch
from torch.utils.flop_counter import FlopCounterMode

from smt_nas.arch import Architecture
from smt_nas.errors import MeasurementError, UnknownName
from smt_nas.models import SMT, build

ImageSize = int | tuple[int, int]
"""Pixels: of a square image, or (height, width)."""


@dataclass(frozen=True)
class Count:
    """What one tool counts for one image.

    Attributes:
        macs: the tool's figure, in multiply-accumulates.
        leaves_out: what a network does that is not in it.
        adds: what is in it although it is no multiply-accumulate.
        version: of the tool.
    """

    macs: int
    leaves_out: str
    adds: str
    version: str


def count(
    arch: Architecture,
    image_size: ImageSize | None = None,
    tools: Iterable[str] = ("torch", "fvcore", "thop"),
) -> dict[str, Count]:
    """Let each tool count a fresh network of `arch`.

    torch and thop see shapes only (meta device); fvcore has to compute one image on the CPU.

    Args:
        arch: the network.
        image_size: `arch.image_size` by default.
        tools: names of `TOOLS`.

    Raises:
        UnknownName: no such tool.
        MeasurementError: a tool is not installed.
    """
    size = _size(arch, image_size)
    found = {}
    for name in tools:
        if name not in TOOLS:
            raise UnknownName("op counter", name, TOOLS)
        found[name] = TOOLS[name](arch, size)
    return found


def count_by_module(arch: Architecture, image_size: ImageSize | None = None) -> dict[str, int]:
    """MACs of every module by its path, as torch counts them; `""` is the whole network.

    A module includes its children: `stages.2`, `stages.2.blocks.0`, `stages.2.blocks.0.ffn.fc1`.
    """
    model = _on_meta(arch)
    found = _torch_flops(model, _size(arch, image_size))
    root = type(model).__name__
    return {
        path: found.get(f"{root}.{path}" if path else "Global", 0) // 2
        for path, _ in model.named_modules()
    }


def runs_finite(arch: Architecture) -> bool:
    """Build a network with fresh weights, run it once on noise; are all its logits finite?"""
    generator = torch.Generator().manual_seed(0)
    model = build(arch, generator=generator).eval()
    shape = (1, arch.in_channels, arch.image_size, arch.image_size)
    with torch.inference_mode():
        logits = model(torch.randn(shape, generator=generator))
    return bool(logits.isfinite().all())


def _torch(arch: Architecture, size: tuple[int, int]) -> Count:
    """torch.utils.flop_counter: 2 per MAC, on dispatched operators."""
    flops = _torch_flops(_on_meta(arch), size)["Global"]
    return Count(
        macs=flops // 2,
        leaves_out="everything that is no convolution or matrix product",
        adds="nothing",
        version=torch.__version__,
    )


def _torch_flops(model: SMT, size: tuple[int, int]) -> dict[str, int]:
    """FLOPs by module, as `FlopCounterMode` names them.

    On the meta device attention takes the path of plain matrix products, which is counted; the
    fused kernel of the CPU is not known to the counter and would count as 0.
    """
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(_image(model.arch, size, "meta"))
    by_module = counter.get_flop_counts()
    return {name: int(sum(by_op.values())) for name, by_op in by_module.items()}


def _fvcore(arch: Architecture, size: tuple[int, int]) -> Count:
    """fvcore: 1 per MAC, on a trace. Tracing needs real tensors, so it runs on zeros."""
    nn = _imported("fvcore.nn", "fvcore")
    model = _zeros(arch)
    analysis = nn.FlopCountAnalysis(model, (_image(arch, size, "cpu"),))
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of the tracer fvcore is built on
        macs, ignored = int(analysis.total()), analysis.unsupported_ops()
    ops = sorted(name.removeprefix("aten::") for name in ignored)
    return Count(
        macs=macs,
        leaves_out=", ".join(ops),
        adds="2 per element of BatchNorm, 5 per element of LayerNorm",
        version=metadata.version("fvcore"),
    )


def _zeros(arch: Architecture) -> SMT:
    """A network whose weights are all views of one zero buffer: nothing large is allocated."""
    model = _on_meta(arch)
    state = model.state_dict()
    floats = torch.zeros(max(t.numel() for t in state.values()))
    counters = torch.zeros((), dtype=torch.long)  # BatchNorm's num_batches_tracked
    views = {
        name: floats[: t.numel()].view(t.shape) if t.is_floating_point() else counters
        for name, t in state.items()
    }
    model.load_state_dict(views, assign=True)
    return model


def _thop(arch: Architecture, size: tuple[int, int]) -> Count:
    """thop: 1 per MAC, by hooks on modules, so functions called on tensors go unseen."""
    thop = _imported("thop", "thop")
    macs, _ = thop.profile(_on_meta(arch), (_image(arch, size, "meta"),), verbose=False)
    attention = any("msa" in stage.mixers for stage in arch.stages)
    return Count(
        macs=int(macs),
        leaves_out=("the attention matrix products, softmax, " if attention else "")
        + "GELU, element-wise products and sums",
        adds="4 per element of BatchNorm and LayerNorm",
        version=metadata.version("thop"),
    )


TOOLS: dict[str, Callable[[Architecture, tuple[int, int]], Count]] = {
    "torch": _torch,
    "fvcore": _fvcore,
    "thop": _thop,
}


def _imported(module: str, distribution: str) -> ModuleType:
    """Import a tool without the warnings it raises at import.

    Goes by the name of the distribution: ultralytics-thop (AGPL) takes the import name of thop.
    """
    try:
        metadata.version(distribution)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return importlib.import_module(module)
    except ImportError as error:  # PackageNotFoundError is one
        raise MeasurementError(
            f"op counter {distribution}: must be installed (got none). "
            f"`pip install {distribution}`, or leave it out."
        ) from error


def _on_meta(arch: Architecture) -> SMT:
    return build(arch, device="meta").eval()


def _image(arch: Architecture, size: tuple[int, int], device: str) -> torch.Tensor:
    return torch.zeros(1, arch.in_channels, *size, device=device)  # (1, C, H, W)


def _size(arch: Architecture, image_size: ImageSize | None) -> tuple[int, int]:
    size = arch.image_size if image_size is None else image_size
    return (size, size) if isinstance(size, int) else size
