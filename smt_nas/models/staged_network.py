"""`StagedNetwork`: how a network of stages runs, plain or in its deploy form."""

from __future__ import annotations

from torch import Tensor, nn

from smt_nas.models.mixers import nchw


class StagedNetwork(nn.Module):
    """Stages one after the other, then the mean over positions and the head.

    Attributes:
        features_only: return the stage maps instead of logits.
        stages: each takes and returns maps (B, H, W, C); the first takes images.
        head: of the pooled features.
    """

    features_only: bool
    stages: nn.ModuleList
    head: nn.Module

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Run the network on images `(B, C, H, W)`.

        Returns: logits `(B, classes)`; with `features_only` the four maps `(B, C_i, H_i, W_i)`.
        """
        if not self.features_only:
            return self.forward_head(self.forward_features(x))
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(nchw(x))
        return maps

    def forward_features(self, x: Tensor) -> Tensor:
        """Images `(B, C, H, W)` to the normed map of the last stage `(B, H, W, C)`."""
        for stage in self.stages:
            x = stage(x)
        return x

    def forward_head(self, x: Tensor) -> Tensor:
        """The last map `(B, H, W, C)` to logits `(B, classes)`."""
        logits: Tensor = self.head(x.mean(dim=(1, 2)))
        return logits
