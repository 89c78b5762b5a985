"""Statistics of batch norms for one network of a store, from a few fixed training images.

In a supernet statistics cannot be shared: a channel's mean depends on all that stands before it.
So each network has its own taken anew, on a copy; the store is not changed.
(Yu & Huang 2019, "Universally Slimmable Networks", arXiv 1903.05134, section 3.)
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from smt_nas.models import SMT
from smt_nas.train.steps.update_parts import Batch

IMAGES = 1000
"""Training images that statistics are taken of."""


def calibrate_batch_norms(network: SMT, batches: Iterable[Batch]) -> None:
    """Replace the statistics of a network's batch norms by means over these images.

    All else runs as in an evaluation: no drop path, nothing is drawn.

    Args:
        network: is left in eval mode.
        batches: images (B, channels, H, W); labels are not used.
    """
    network.eval()
    device = next(network.parameters()).device
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    usual = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.train()
    seen = 0
    with torch.no_grad():
        for images, _ in batches:
            seen += len(images)
            for norm in norms:
                norm.momentum = len(images) / seen  # the mean over all images
            network(images.to(device, non_blocking=True))
    for norm, momentum in zip(norms, usual, strict=True):
        norm.momentum = momentum
        norm.eval()
