"""SMT as a backbone of the OpenMMLab libraries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.model import BaseModule
from mmengine.registry import MODELS
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

NAME = "SMT"
"""What configs call it; the registry of mmengine is the parent of those of mmdet and mmseg."""


@MODELS.register_module(name=NAME, force=True)  # also where this file is read twice
class SMTBackbone(BaseModule):
    """Images to the map of each stage.

    Args:
        out_indices: the stages whose maps are returned, from 0.
        drop_path_rate: stochastic depth of the last block; training only.
        frozen_stages: the first ones, this one included, are not trained; -1 for none.
        norm_eval: batch norms keep their running statistics in training.
        init_cfg: `dict(type="Pretrained", checkpoint=PATH)`; a .safetensors file must hold all
            weights of the backbone, a head in it is passed over.
    """

    def __init__(
        self,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        drop_path_rate: float = NETWORK.drop_path,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.stages = build_stages(NETWORK._replace(drop_path=drop_path_rate))
        self.out_indices = tuple(out_indices)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.train()

    def init_weights(self) -> None:
        """Draw fresh weights, and load those of `init_cfg`."""
        self.apply(init_weights)
        checkpoint = (self.init_cfg or {}).get("checkpoint", "")
        if not checkpoint.endswith(".safetensors"):
            super().init_weights()
            return
        from safetensors.torch import load_file

        state = {k: v for k, v in load_file(checkpoint).items() if not k.startswith("head.")}
        self.load_state_dict(state)
        self.is_init = True

    def train(self, mode: bool = True) -> SMTBackbone:
        """Train mode, but for what is frozen."""
        super().train(mode)
        for stage in self.stages[: self.frozen_stages + 1]:
            stage.eval().requires_grad_(False)
        if self.norm_eval:
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Images (B, C, H, W) to maps (B, C', H', W'), shallow to deep."""
        x, maps = images, []
        for i, stage in enumerate(self.stages):
            x = stage(x)  # (B, H, W, C)
            if i in self.out_indices:
                maps.append(nchw(x))
        return tuple(maps)
