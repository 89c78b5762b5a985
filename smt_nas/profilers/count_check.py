"""Whether a network of a search is what the formulas say: by the op counters of others, and a run.

The witnesses each run on this very network, in two forwards: torch's counter and thop's hooks watch
the same one on shapes alone, and fvcore traces one that computes with weights as fresh networks
have them, whose logits tell whether the network runs.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from smt_nas import costs
from smt_nas.arch import Architecture
from smt_nas.models import build
from smt_nas.models.shape_inference import ShapeMemory
from smt_nas.profilers.counters import ONE_THREAD, count, import_tool, is_installed
from smt_nas.profilers.network_loader import network_of
from smt_nas.runtime.torch_settings import apply_torch_settings

WITNESSES = ("torch", "fvcore", "thop")
"""The tools that count every network of a front; torchprofile would take as long as all three."""


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
    """Build a network, let the witnesses that are installed count it, and run it once."""
    installed = [name for name in WITNESSES if is_installed(name)]
    try:
        macs = _count_on_shapes(arch, [name for name in installed if name != "fvcore"])
        traced, finite = _trace_and_run(arch, "fvcore" in installed)
    except Exception as error:  # a network that cannot run is a finding, not our crash
        return CountCheck({}, f"{type(error).__name__}: {error}")
    macs = {name: (macs | traced)[name] for name in installed}
    reason, formula = None, costs.of(arch).macs
    if not finite:
        reason = "its logits are not finite"
    elif macs["torch"] != formula:
        reason = f"torch counts {macs['torch']} MACs, the formula {formula}"
    return CountCheck(macs, reason)


def _count_on_shapes(arch: Architecture, tools: Sequence[str]) -> dict[str, int | None]:
    """MACs by torch's counter and thop's hooks, of one forward; one by one where that fails."""
    if "thop" in tools:
        with suppress(Exception):  # hooks; each by itself tells which one fails
            return _count_at_once(arch)
    return {name: c.macs for name, c in count(arch, tools=tools).items()}


def _count_at_once(arch: Architecture) -> dict[str, int | None]:
    model = build(arch, device="meta").eval()
    with ExitStack() as stack:
        _enter_quietly(stack)
        stack.enter_context(ShapeMemory())
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))  # products that the counter knows
        counter = stack.enter_context(FlopCounterMode(display=False))
        by_hooks, _ = import_tool("thop").profile(model, (_make_image(arch),), verbose=False)
    return {"torch": counter.get_total_flops() // 2, "thop": int(by_hooks)}


def _trace_and_run(arch: Architecture, has_fvcore: bool) -> tuple[dict[str, int | None], bool]:
    """MACs by fvcore, where it is there, and whether all logits of its forward are finite."""
    model = network_of(arch, arch.key).build()
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(_make_image(arch).shape, generator=generator)
    macs: dict[str, int | None] = {}
    logits: list[Tensor] = []
    with ExitStack() as stack:
        _enter_quietly(stack)
        stack.enter_context(apply_torch_settings(ONE_THREAD, torch.device("cpu")))
        if has_fvcore:
            hook = model.register_forward_hook(lambda _, __, out: logits.append(out.detach()))
            macs["fvcore"] = _trace_with_fvcore(model, image)
            hook.remove()
        if not logits:
            logits.append(model(image))
    return macs, bool(logits[-1].isfinite().all())


def _trace_with_fvcore(model: nn.Module, image: Tensor) -> int | None:
    try:
        analysis = import_tool("fvcore.nn", "fvcore").FlopCountAnalysis(model, (image,))
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        return int(analysis.total())
    except Exception:  # a tracer
        return None


def _enter_quietly(stack: ExitStack) -> None:
    """Without gradients, and without the warnings of tracers."""
    stack.enter_context(torch.random.fork_rng(devices=[]))
    stack.enter_context(warnings.catch_warnings())
    warnings.simplefilter("ignore")
    stack.enter_context(torch.no_grad())


def _make_image(arch: Architecture) -> Tensor:
    """The shape of one image, (1, C, H, W)."""
    return torch.empty(1, arch.in_channels, arch.image_size, arch.image_size, device="meta")
