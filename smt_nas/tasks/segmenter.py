"""`Segmenter`: an SMT, a UPerNet head, and the loss of both."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from smt_nas.costs.heads.head_config import UPerNetConfig
from smt_nas.models import SMT
from smt_nas.tasks.upernet import AuxiliaryHead, UPerNetHead, resize

IGNORED = 255
"""The label of pixels that no loss and no score counts."""

_AUX_WEIGHT = 0.4


class Segmenter(nn.Module):
    """A class for every pixel.

    Args:
        backbone: gives four maps.
        config: of the head.

    Attributes:
        backbone: as given.
        decode_head: gives the logits.
        auxiliary_head: of the second loss; not run in inference.
    """

    def __init__(self, backbone: SMT, config: UPerNetConfig) -> None:
        super().__init__()
        channels = [stage.dim for stage in backbone.arch.stages]
        self.backbone = backbone
        self.decode_head = UPerNetHead(config, channels)
        self.auxiliary_head = AuxiliaryHead(config, channels)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) of any size to logits (B, classes, H, W)."""
        return resize(self.decode_head(self.backbone(images)), images)

    def compute_losses(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Losses of both heads by name, for labels (B, H, W) of long integers.

        As published, a mean over all pixels: those of `IGNORED` count as 0.
        """
        maps = self.backbone(images)
        heads = {"loss": (self.decode_head, 1.0), "loss_aux": (self.auxiliary_head, _AUX_WEIGHT)}
        return {
            name: weight * _pixel_loss(resize(head(maps), images), labels)
            for name, (head, weight) in heads.items()
        }


def _pixel_loss(logits: Tensor, labels: Tensor) -> Tensor:
    loss = F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum")
    return loss / labels.numel()
