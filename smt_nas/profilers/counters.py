"""Op counters of other people, run on the network that is built.

Our own counts are formulas (`smt_nas.costs`); these four confirm them on real modules, and count
what is no SMT. They do not agree with each other, since none counts everything, so each says what
it leaves out and adds. 1 multiply-accumulate = 1, for one image, in inference: backward of grouped
convolutions is counted `groups` times too large by torch's (seen with torch 2.13).

Each works on a copy without gradients: thop writes into the modules it counts, fvcore leaves its
hooks behind where a network fails, and torch's stumbles over expanded parameters that want a
gradient (https://github.com/pytorch/pytorch/issues/134242). What torch.compile compiled runs
operator by operator.
"""

from __future__ import annotations

import importlib
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import metadata
from types import ModuleType

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from smt_nas.arch import Architecture
from smt_nas.conditions import Conditions
from smt_nas.errors import MeasurementError, UnknownName, one_line
from smt_nas.models import SMT, build
from smt_nas.models.trace import run_compiled_eagerly
from smt_nas.profilers.network_loader import Network, module_copier
from smt_nas.profilers.uncounted import ProductWatch, UncountedWatch
from smt_nas.runtime.imports import import_optional, missing_library
from smt_nas.runtime.torch_settings import apply_torch_settings

ImageSize = int | tuple[int, int]
"""Pixels: of a square image, or (height, width)."""

ONE_THREAD = Conditions(threads=1)  # two that wait on a busy neighbour are several times slower
_NO_HANDLER = re.compile(r'No handlers found: "aten::(\w+)"')
_FUNCTIONS = ("activations", "softmax", "element-wise products and sums")  # thop sees none


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
    tools: Iterable[str] | None = None,
) -> dict[str, Count]:
    """Let each tool count a network; what is handed in stays as it is.

    torch, thop and torchprofile see shapes only (meta device) where the network runs so; else, and
    fvcore always, compute one image on the CPU.

    Args:
        what: an SMT, or any network.
        image_size: the network's own by default.
        tools: names of `TOOLS`, all of which must be installed; None for those that are.

    Returns: a count by tool, without a figure where the tool fails on this network or is missing.

    Raises:
        UnknownName: no such tool.
        MeasurementError: a tool is not installed.
        ConfigError: the network cannot be built.
    """
    names = tuple(TOOLS if tools is None else tools)
    for name in names:
        if name not in TOOLS:
            raise UnknownName("op counter", name, TOOLS)
    network = _as_countable(what, image_size)
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(devices=[]))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")  # of tracers, and of anybody's network
        stack.enter_context(torch.no_grad())
        stack.enter_context(run_compiled_eagerly())
        stack.enter_context(_without_fast_path())
        return {name: _count_with(name, network, must=tools is not None) for name in names}


def _count_with(name: str, network: _Countable, must: bool) -> Count:
    """One tool's count; a tool that is not there is no count, unless it must be."""
    try:
        return TOOLS[name](network)
    except MeasurementError as error:
        if must:
            raise
        return Count(None, "everything", "nothing", "not installed", str(error))


def count_by_module(arch: Architecture, image_size: ImageSize | None = None) -> dict[str, int]:
    """MACs of every module by its path, as torch counts them; `""` is the whole network.

    A module includes its children: `stages.2`, `stages.2.blocks.0`, `stages.2.blocks.0.ffn.fc1`.
    """
    network = _as_countable(arch, image_size)
    model = network.on_meta()
    flops, _ = _torch_flops(model, network.images("meta"))
    root = type(model).__name__
    return {
        path: flops.get(f"{root}.{path}" if path else "Global", 0) // 2
        for path, _ in model.named_modules()
    }


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
    make = module_copier(what)
    return _Countable(lambda: make().to("meta"), make, (what.channels, height, width))


def _count_with_torch(network: _Countable) -> Count:
    """torch.utils.flop_counter: 2 per MAC, on dispatched operators.

    A network that makes tensors of its own on the CPU, or looks at numbers, is not for the meta
    device, and computes.
    """
    version = torch.__version__
    try:
        try:
            flops, uncounted = _torch_flops(network.on_meta(), network.images("meta"))
        except Exception:  # anybody's code; what it raises on the CPU is what is told
            flops, uncounted = _torch_flops(network.on_cpu(), network.images("cpu"))
    except Exception as error:
        return _no_count(version, error)
    left = [*sorted(uncounted), "everything that is no convolution or matrix product"]
    return Count(flops.get("Global", 0) // 2, ", ".join(left), "nothing", version)


def _torch_flops(model: nn.Module, images: Tensor) -> tuple[dict[str, int], set[str]]:
    """FLOPs by module, as `FlopCounterMode` names them; and operators that multiply unseen.

    Attention and recurrent layers take the path of plain matrix products, which is counted: the
    CPU's fused kernels are not known to the counter and would count as 0.
    """
    with ExitStack() as stack:
        if not images.is_meta:
            stack.enter_context(_without_onednn())
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        stack.enter_context(torch.no_grad())
        unseen = stack.enter_context(UncountedWatch())
        counter = stack.enter_context(FlopCounterMode(display=False))
        model(images)
    by_module = counter.get_flop_counts()
    flops = {name: int(sum(by_op.values())) for name, by_op in by_module.items()}
    return flops, unseen.products


@contextmanager
def _without_fast_path() -> Iterator[None]:
    """While it lasts, `nn.MultiheadAttention` and transformer layers are no single operator.

    In inference they are one else, whose products no counter knows.
    """
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@contextmanager
def _without_onednn() -> Iterator[None]:
    """While it lasts, the CPU runs torch's own kernels. The switch warns of Intel's GPUs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with torch.backends.mkldnn.flags(enabled=False):
            yield


def _count_with_fvcore(network: _Countable) -> Count:
    """fvcore: 1 per MAC, on a trace. Tracing needs real tensors, so it runs on zeros."""
    library, version = import_tool("fvcore.nn", "fvcore"), metadata.version("fvcore")
    try:
        analysis = library.FlopCountAnalysis(network.on_cpu(), (network.images("cpu"),))
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        with apply_torch_settings(ONE_THREAD, torch.device("cpu")):
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
    library, version = import_tool("thop", "thop"), metadata.version("thop")
    known = frozenset(importlib.import_module("thop.profile").register_hooks)
    try:
        try:
            macs, watch = _hook_macs(library, known, network.on_meta(), network.images("meta"))
        except Exception:  # as of torch's counter
            with apply_torch_settings(ONE_THREAD, torch.device("cpu")):
                macs, watch = _hook_macs(library, known, network.on_cpu(), network.images("cpu"))
    except Exception as error:  # hooks on anybody's code
        return _no_count(version, error)
    left = [*sorted(watch.products), *watch.unknown_kinds(), *_FUNCTIONS]
    return Count(macs, ", ".join(left), "4 per element of BatchNorm and LayerNorm", version)


def _hook_macs(
    library: ModuleType, known: frozenset[type], model: nn.Module, images: Tensor
) -> tuple[int, ProductWatch]:
    """MACs by thop's hooks, and what was multiplied out of their sight."""
    with ProductWatch(model, known) as watch:
        macs, _ = library.profile(model, (images,), verbose=False)
    return int(macs), watch


def _count_with_torchprofile(network: _Countable) -> Count:
    """torchprofile: 1 per MAC, on a trace. It sees fused attention."""
    library, version = import_tool("torchprofile"), metadata.version("torchprofile")
    try:
        try:
            macs, left = _profile_macs(library, network.on_meta(), network.images("meta"))
        except Exception:  # as of torch's counter
            with apply_torch_settings(ONE_THREAD, torch.device("cpu")):
                macs, left = _profile_macs(library, network.on_cpu(), network.images("cpu"))
    except Exception as error:  # a tracer on anybody's code
        return _no_count(version, error)
    adds = "1 per element of products, norms and average pools, 4 of resizing"
    return Count(macs, ", ".join(left) or "nothing", adds, version)


def _profile_macs(library: ModuleType, model: nn.Module, images: Tensor) -> tuple[int, list[str]]:
    """MACs, and the operators that torchprofile warns it has no handler for."""
    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always")
        macs = int(library.profile_macs(model, (images,)))
    names = (_NO_HANDLER.search(str(w.message)) for w in raised)
    return macs, sorted({name[1] for name in names if name})


TOOLS: dict[str, Callable[[_Countable], Count]] = {
    "torch": _count_with_torch,
    "fvcore": _count_with_fvcore,
    "thop": _count_with_thop,
    "torchprofile": _count_with_torchprofile,
}


def _no_count(version: str, error: Exception) -> Count:
    return Count(None, "everything", "nothing", version, one_line(error))


def import_tool(module: str, distribution: str = "") -> ModuleType:
    """Import a tool without the warnings it raises at import.

    Goes by the name of the distribution: ultralytics-thop (AGPL) takes the import name of thop.
    """
    distribution = distribution or module
    way_out = f"`pip install {distribution}`, or leave it out."
    if not is_installed(distribution):
        raise missing_library(distribution, way_out, "op counter")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return import_optional(module, way_out, "op counter", distribution)


def is_installed(distribution: str) -> bool:
    """Whether a library is there, by the name of its distribution."""
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def _build_on_meta(arch: Architecture) -> SMT:
    return build(arch, device="meta").eval()
