"""SMT for transformers: an image classifier, and a backbone that returns its maps."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import ImageClassifierOutput

from smt_nas.export.codes.templates.plain_network import (
    LayerScale,
    Network,
    Stage,
    build_stages,
    init_weights,
    nchw,
)


class SMTConfig(PretrainedConfig):
    """Which network it is.

    Args:
        stages: the fields of `Stage`, a dict a stage.
        num_channels: of the images.
        image_size: pixels of a side; the network takes any from 32.
        stem_kernel: of the first convolution.
        stem_stride: pixels per position of the first stage.
        layer_scale: initial scale of the residual branches; None for none.
        drop_path_rate: stochastic depth of the last block; training only.
        kwargs: of every config, such as `id2label`.
    """

    model_type = "smt_nas"

    def __init__(
        self,
        stages: list[dict[str, Any]] | None = None,
        num_channels: int = 3,
        image_size: int = 224,
        stem_kernel: int = 3,
        stem_stride: int = 4,
        layer_scale: float | None = None,
        drop_path_rate: float = 0.0,
        **kwargs: Any,
    ) -> None:
        self.stages = stages or []
        self.num_channels = num_channels
        self.image_size = image_size
        self.stem_kernel = stem_kernel
        self.stem_stride = stem_stride
        self.layer_scale = layer_scale
        self.drop_path_rate = drop_path_rate
        super().__init__(**kwargs)

    def to_network(self) -> Network:
        """The network as the modules below take it."""
        return Network(
            stages=tuple(
                Stage(**{k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()})
                for fields in self.stages
            ),
            num_classes=self.num_labels,
            in_channels=self.num_channels,
            stem_kernel=self.stem_kernel,
            stem_stride=self.stem_stride,
            layer_scale=self.layer_scale,
            drop_path=self.drop_path_rate,
        )


class SMTForImageClassification(PreTrainedModel):
    """Images to logits."""

    config_class = SMTConfig
    main_input_name = "pixel_values"
    input_modalities = ("image",)
    _no_split_modules = ("Block",)

    def __init__(self, config: SMTConfig) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.stages = build_stages(config.to_network())
        dim = config.stages[-1]["dim"]
        self.head = nn.Linear(dim, config.num_labels) if config.num_labels else nn.Identity()
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Fresh weights of a module that a checkpoint lacks."""
        init_weights(module)
        if isinstance(module, nn.LayerNorm | nn.BatchNorm2d):
            module.reset_parameters()
        elif isinstance(module, LayerScale):
            nn.init.constant_(module.gamma, self.config.layer_scale)

    def forward(
        self,
        pixel_values: Tensor,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> ImageClassifierOutput | tuple[Tensor, ...]:
        """Classify images.

        Args:
            pixel_values: (B, C, H, W), as the image processor prepares them.
            labels: (B,), for the loss.
            output_hidden_states: return the map of each stage too, (B, C', H', W').
            return_dict: as in all models of transformers.
            kwargs: what a trainer hands to every model; of no use here.
        """
        x, maps = pixel_values, []
        for stage in self.stages:
            x = stage(x)  # (B, H, W, C)
            maps.append(nchw(x))
        logits = self.head(x.mean(dim=(1, 2)))
        output = ImageClassifierOutput(
            loss=None if labels is None else F.cross_entropy(logits, labels),
            logits=logits,
            hidden_states=tuple(maps) if output_hidden_states else None,
        )
        as_dict = self.config.return_dict if return_dict is None else return_dict
        return output if as_dict else output.to_tuple()
