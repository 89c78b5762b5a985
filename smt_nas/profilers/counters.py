"""Op counters of other people, run on the network that is built.

Our own counts are formulas (`smt_nas.costs`); these three confirm them on real modules, and count
what is no SMT. They do not agree with each other, since none counts everything, so each says what
it leaves out and adds. 1 multiply-accumulate = 1, for one image.

Each works on a copy: thop writes into the modules it counts, and fvcore leaves its hooks behind
where a network fails.
"""

from __future__ import annotations

import copy
import importlib
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import metadata
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from smt_nas import costs
from smt_nas.arch import Architecture
from smt_nas.conditions import Conditions
from smt_nas.errors import UnknownName, one_line
from smt_nas.models import SMT, build
from smt_nas.models.trace import module_paths
from smt_nas.profilers.network_loader import Network
from smt_nas.runtime.imports import import_optional, missing_library
from smt_nas.runtime.torch_settings import apply_torch_settings

ImageSize = int | tuple[int, int]
"""Pixels: of a square image, or (height, width)."""

_ONE_THREAD = Conditions(threads=1)  # two that wait on a busy neighbour are several times slower
_FUNCTIONS = ("activations", "softmax", "element-wise products and sums")  # thop sees none
PRODUCTS = frozenset(
    (
        *("linear", "bilinear", "matmul", "mm", "bmm", "mv", "dot", "einsum", "tensordot"),
        *("addmm", "addbmm", "baddbmm", "addmv"),
        *("conv1d", "conv2d", "conv3d"),
        *("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
        *("scaled_dot_product_attention", "multi_head_attention_forward"),
    )
)
"""Functions of torch that multiply and accumulate."""


@dataclass(frozen=True)
class Count:
    """What one tool counts for one image.

    Attributes:
        macs: the tool's figure, in multiply-accumulates; None where it cannot count this network.
        leaves_out: what a network does that is not in it.
        adds: what is in it although it is no multiply-accumulate.
        version: of the tool.
        reason: why there is no figure; None where there is.
    """

    macs: int | None
    leaves_out: str
    adds: str
    version: str
    reason: str | None = None


def count(
    what: Architecture | Network,
    image_size: ImageSize | None = None,
    tools: Iterable[str] = ("torch", "fvcore", "thop"),
) -> dict[str, Count]:
    """Let each tool count a network; what is handed in stays as it is.

    torch and thop see shapes only (meta device); fvcore has to compute one image on the CPU.

    Args:
        what: an SMT, or any network.
        image_size: the network's own by default.
        tools: names of `TOOLS`.

    Returns: a count by tool, without a figure where the tool fails on this network.

    Raises:
        UnknownName: no such tool.
        MeasurementError: a tool is not installed.
        ConfigError: the network cannot be built.
    """
    for name in (tools := tuple(tools)):
        if name not in TOOLS:
            raise UnknownName("op counter", name, TOOLS)
    network = _as_countable(what, image_size)
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tracers, and of anybody's network
        return {name: TOOLS[name](network) for name in tools}


def count_by_module(arch: Architecture, image_size: ImageSize | None = None) -> dict[str, int]:
    """MACs of every module by its path, as torch counts them; `""` is the whole network.

    A module includes its children: `stages.2`, `stages.2.blocks.0`, `stages.2.blocks.0.ffn.fc1`.
    """
    network = _as_countable(arch, image_size)
    model = network.on_meta()
    flops = _torch_flops(model, network.images("meta"))
    root = type(model).__name__
    return {
        path: flops.get(f"{root}.{path}" if path else "Global", 0) // 2
        for path, _ in model.named_modules()
    }


@dataclass(frozen=True)
class CountCheck:
    """What the counters and one run say of an SMT.

    Attributes:
        macs: by counter; None where it cannot count this network.
        reason: why the network fails: it cannot be built or run, its logits are not finite, or
            torch counts other MACs than the formula; None where nothing is wrong.
    """

    macs: Mapping[str, int | None]
    reason: str | None


def check_counts(arch: Architecture) -> CountCheck:
    """Build a network, let every counter count it, and run it once."""
    try:
        macs = {name: c.macs for name, c in count(arch).items()}
        finite = runs_finite(arch)
    except Exception as error:  # a network that cannot run is a finding, not our crash
        return CountCheck({}, f"{type(error).__name__}: {error}")
    reason, formula = None, costs.of(arch).macs
    if not finite:
        reason = "its logits are not finite"
    elif macs["torch"] != formula:
        reason = f"torch counts {macs['torch']} MACs, the formula {formula}"
    return CountCheck(macs, reason)


def runs_finite(arch: Architecture) -> bool:
    """Build a network with fresh weights, run it once on noise; are all its logits finite?"""
    generator = torch.Generator().manual_seed(0)
    model = build(arch, generator=generator).eval()
    shape = (1, arch.in_channels, arch.image_size, arch.image_size)
    with torch.inference_mode():
        logits = model(torch.randn(shape, generator=generator))
    return bool(logits.isfinite().all())


@dataclass(frozen=True)
class _Countable:
    """A network to be counted.

    Attributes:
        on_meta: a copy that holds shapes only.
        on_cpu: a copy that can compute.
        image: shape of one image (C, H, W).
    """

    on_meta: Callable[[], nn.Module]
    on_cpu: Callable[[], nn.Module]
    image: tuple[int, int, int]

    def images(self, device: str) -> Tensor:
        """One image, (1, C, H, W)."""
        return torch.zeros(1, *self.image, device=device)


def _as_countable(what: Architecture | Network, image_size: ImageSize | None) -> _Countable:
    size = what.image_size if image_size is None else image_size
    height, width = (size, size) if isinstance(size, int) else size
    arch = what if isinstance(what, Architecture) else what.arch
    if arch is not None:
        return _Countable(
            lambda: _build_on_meta(arch),
            lambda: _build_on_zeros(arch),
            (arch.in_channels, height, width),
        )
    assert isinstance(what, Network)
    model = what.build()
    return _Countable(
        lambda: copy.deepcopy(model).to("meta"),
        lambda: copy.deepcopy(model),
        (what.channels, height, width),
    )


def _count_with_torch(network: _Countable) -> Count:
    """torch.utils.flop_counter: 2 per MAC, on dispatched operators.

    A network that makes tensors of its own on the CPU, or looks at numbers, is not for the meta
    device, and computes.
    """
    version = torch.__version__
    try:
        try:
            flops = _torch_flops(network.on_meta(), network.images("meta"))
        except Exception:  # anybody's code; what it raises on the CPU is what is told
            flops = _torch_flops(network.on_cpu(), network.images("cpu"))
    except Exception as error:
        return _no_count(version, error)
    left = "everything that is no convolution or matrix product"
    return Count(flops["Global"] // 2, left, "nothing", version)


def _torch_flops(model: nn.Module, images: Tensor) -> dict[str, int]:
    """FLOPs by module, as `FlopCounterMode` names them.

    Attention takes the path of plain matrix products, which is counted: the CPU's fused kernel and
    the fast path of `nn.MultiheadAttention` are not known to the counter and would count as 0.
    """
    fast_path = torch.backends.mha.get_fastpath_enabled()
    with ExitStack() as stack:
        stack.callback(torch.backends.mha.set_fastpath_enabled, fast_path)
        torch.backends.mha.set_fastpath_enabled(False)
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        stack.enter_context(torch.no_grad())
        counter = stack.enter_context(FlopCounterMode(display=False))
        model(images)
    by_module = counter.get_flop_counts()
    return {name: int(sum(by_op.values())) for name, by_op in by_module.items()}


def _count_with_fvcore(network: _Countable) -> Count:
    """fvcore: 1 per MAC, on a trace. Tracing needs real tensors, so it runs on zeros."""
    library, version = _import_tool("fvcore.nn", "fvcore"), metadata.version("fvcore")
    try:
        analysis = library.FlopCountAnalysis(network.on_cpu(), (network.images("cpu"),))
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        with torch.no_grad(), apply_torch_settings(_ONE_THREAD, torch.device("cpu")):
            macs, ignored = int(analysis.total()), analysis.unsupported_ops()
    except Exception as error:  # a tracer on anybody's code
        return _no_count(version, error)
    left = ", ".join(sorted(name.removeprefix("aten::") for name in ignored))
    adds = "2 per element of BatchNorm, 5 per element of LayerNorm"
    return Count(macs, left or "nothing", adds, version)


def _build_on_zeros(arch: Architecture) -> SMT:
    """A network whose weights are all views of one zero buffer: nothing large is allocated."""
    model = _build_on_meta(arch)
    state = model.state_dict()
    floats = torch.zeros(max(t.numel() for t in state.values()))
    counters = torch.zeros((), dtype=torch.long)  # BatchNorm's num_batches_tracked
    views = {
        name: floats[: t.numel()].view(t.shape) if t.is_floating_point() else counters
        for name, t in state.items()
    }
    model.load_state_dict(views, assign=True)
    return model


def _count_with_thop(network: _Countable) -> Count:
    """thop: 1 per MAC, by hooks on modules, so functions called on tensors go unseen."""
    library, version = _import_tool("thop", "thop"), metadata.version("thop")
    known = frozenset(importlib.import_module("thop.profile").register_hooks)
    try:
        model = network.on_meta()
        with ProductWatch(model, known) as watch:
            macs, _ = library.profile(model, (network.images("meta"),), verbose=False)
    except Exception as error:  # hooks on anybody's code
        return _no_count(version, error)
    left = [*sorted(watch.products), *watch.unknown_kinds(), *_FUNCTIONS]
    return Count(int(macs), ", ".join(left), "4 per element of BatchNorm and LayerNorm", version)


TOOLS: dict[str, Callable[[_Countable], Count]] = {
    "torch": _count_with_torch,
    "fvcore": _count_with_fvcore,
    "thop": _count_with_thop,
}


def _no_count(version: str, error: Exception) -> Count:
    return Count(None, "everything", "nothing", version, one_line(error))


def _import_tool(module: str, distribution: str) -> ModuleType:
    """Import a tool without the warnings it raises at import.

    Goes by the name of the distribution: ultralytics-thop (AGPL) takes the import name of thop.
    """
    way_out = f"`pip install {distribution}`, or leave it out."
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError as error:
        raise missing_library(distribution, way_out, "op counter") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return import_optional(module, way_out, "op counter", distribution)


def _build_on_meta(arch: Architecture) -> SMT:
    return build(arch, device="meta").eval()


class ProductWatch(TorchFunctionMode):
    """While it lasts, notes products that a model computes outside of the modules that are known.

    Args:
        model: whose forward will run.
        known: kinds of modules that are counted, by exact type.

    Attributes:
        products: names of the functions.
    """

    def __init__(self, model: nn.Module, known: frozenset[type]) -> None:
        super().__init__()
        self.products: set[str] = set()
        self._kinds = {path: type(m) for path, m in model.named_modules()}
        self._known, self._model, self._path = known, model, [""]
        self._hooks = ExitStack()

    def unknown_kinds(self) -> list[str]:
        """Kinds of modules that hold weights of their own and are not known, e.g. `timm.Beit`."""
        own = {
            type(m) for m in self._model.modules() if next(m.parameters(False), None) is not None
        }
        return sorted(f"{k.__module__.partition('.')[0]}.{k.__name__}" for k in own - self._known)

    def __enter__(self) -> ProductWatch:
        self._hooks.enter_context(module_paths(self._model, self._path))
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *raised: Any) -> None:
        super().__exit__(*raised)  # type: ignore[no-untyped-call]
        self._hooks.close()

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        """Any function of torch: done as it is."""
        name = getattr(func, "__name__", "").strip("_").removeprefix("r")
        if name in PRODUCTS and self._kinds[self._path[-1]] not in self._known:
            self.products.add(name)
        return func(*args, **(kwargs or {}))
