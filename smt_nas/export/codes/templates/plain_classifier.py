"""A network as one file: `build()` for fresh weights, `load(PATH)` for trained ones."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from smt_nas.export.codes.templates.plain_network import (
    Network,
    Stage,
    build_stages,
    init_weights,
    nchw,
)

NETWORK = Network(stages=(Stage(dim=16, hidden=32, mixers=("sam",), kernels=(3, 5)),) * 4)
"""Which network it is."""


class SMT(nn.Module):
    """Images to logits."""

    def __init__(self, network: Network = NETWORK) -> None:
        super().__init__()
        self.stages = build_stages(network)
        self.head = nn.Linear(network.stages[-1].dim, network.num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) to logits (B, classes)."""
        x = images
        for stage in self.stages:
            x = stage(x)  # (B, H, W, C)
        logits: Tensor = self.head(x.mean(dim=(1, 2)))
        return logits

    def forward_features(self, images: Tensor) -> list[Tensor]:
        """Images (B, C, H, W) to the map of each stage (B, C', H', W')."""
        x, maps = images, []
        for stage in self.stages:
            x = stage(x)
            maps.append(nchw(x))
        return maps


def build() -> SMT:
    """The network with fresh weights, in train mode."""
    return SMT().apply(init_weights)


def load(path: str | Path | None = None) -> SMT:
    """The network with the weights of a file, in eval mode.

    Args:
        path: a .safetensors file, which needs the package safetensors; or what torch.save wrote of
            a state dict, of which tensors alone are read. By default the file beside this one.
    """
    path = Path(__file__).with_suffix(".safetensors") if path is None else Path(path)
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        state = load_file(path)
    else:
        state = torch.load(path, map_location="cpu", weights_only=True)
    model = SMT()
    model.load_state_dict(state)
    return model.eval()
