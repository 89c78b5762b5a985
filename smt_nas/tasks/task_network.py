"""`build_task`: the whole model of a task, by the name of its head."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from smt_nas.arch import Architecture
from smt_nas.costs.heads import HEADS, HeadConfig
from smt_nas.errors import ConfigError
from smt_nas.models import SMT, build


def build_task(
    arch: Architecture,
    head: str,
    config: HeadConfig | None = None,
    generator: torch.Generator | None = None,
    device: str | torch.device | None = None,
) -> nn.Module:
    """Build a detector or segmenter with fresh weights, in train mode.

    Args:
        arch: of the backbone; its classifier is left out.
        head: a name of HEADS.
        config: widths and classes; the published ones by default.
        generator: of the CPU; torch's global one by default. The weights depend on it alone.
        device: where to; `"meta"` allocates nothing, for counting.

    Raises:
        ConfigError: the config is of another head, or a detector's images have no 3 channels.
        MeasurementError: torchvision is not installed, for a detector.
    """
    entry = HEADS[head]
    config = entry.config() if config is None else config
    if not isinstance(config, entry.config):
        raise ConfigError(
            f"{head}: must get a {entry.config.__name__} (got a {type(config).__name__}). "
            "Its defaults are the published values."
        )
    if entry.task == "detect" and arch.in_channels != 3:
        raise ConfigError(
            f"{head}: in_channels must be 3 (got {arch.in_channels}). Detectors take RGB images."
        )
    body = build(arch, features_only=True, generator=generator, device=device)
    seed = int(torch.randint(2**62, (), generator=generator))
    with torch.random.fork_rng(devices=[]):  # torchvision draws from torch's global generator
        torch.manual_seed(seed)
        with torch.device("meta" if device is not None and _is_meta(device) else "cpu"):
            network = _BUILDERS[head](body, config)
    return network if device is None else network.to(device)


def _is_meta(device: str | torch.device) -> bool:
    return torch.device(device).type == "meta"


def _build_mask_rcnn(body: SMT, config: Any) -> nn.Module:
    from smt_nas.tasks.detectors import MaskRCNN

    network: nn.Module = MaskRCNN(body, config)
    return network


def _build_retinanet(body: SMT, config: Any) -> nn.Module:
    from smt_nas.tasks.detectors import RetinaNet

    network: nn.Module = RetinaNet(body, config)
    return network


def _build_segmenter(body: SMT, config: Any) -> nn.Module:
    from smt_nas.tasks.segmenter import Segmenter

    return Segmenter(body, config)


_BUILDERS: dict[str, Callable[[SMT, Any], nn.Module]] = {
    "mask-rcnn": _build_mask_rcnn,
    "retinanet": _build_retinanet,
    "upernet": _build_segmenter,
}
