"""SMT, the network of an `Architecture`: stem, four stages, mean over positions, linear head.

- activations are `(B, H, W, C)` throughout; images and feature maps are `(B, C, H, W)`
- any image of 32 px and up, also non-square and of odd size
- `features_only=True`: a backbone that returns the four stage maps, with timm's `feature_info`
- gradient checkpointing per block, layer scale, stochastic depth
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from smt_nas.arch import Architecture, load_arch
from smt_nas.costs.parts import Part, decompose
from smt_nas.errors import ConfigError
from smt_nas.models.blocks import EMBEDS, Block, LayerScale, SMTStage
from smt_nas.models.feature_maps import FeatureInfo
from smt_nas.models.fused import FusedSMT
from smt_nas.models.mixers import SAM
from smt_nas.models.staged_network import StagedNetwork

OWN_ANCHOR = "stages.0.embed.conv1.weight"
"""A tensor that every network of ours has."""


class SMT(StagedNetwork):
    """The network of an `Architecture`.

    Args:
        arch: which network.
        features_only: return the four stage maps instead of logits; there is no head then.
        stages: those of `build_stages(arch)`; None builds them.

    Attributes:
        arch: the architecture it was built from.
        stages: four `SMTStage`s, each with `embed`, `blocks`, `norm`.
        head: the classifier, `nn.Identity` where there is none.
        pooled_features: channels that the head takes.
        feature_info: what the stage maps are, as timm tells it.
    """

    def __init__(
        self,
        arch: Architecture,
        features_only: bool = False,
        stages: Sequence[SMTStage] | None = None,
    ) -> None:
        super().__init__()
        self.arch = arch
        self.features_only = features_only
        self.stages = nn.ModuleList(build_stages(arch) if stages is None else stages)
        self.num_features = self.pooled_features = arch.stages[-1].dim
        self.num_classes = 0 if features_only else arch.num_classes
        self.head: nn.Module = _build_head(self.pooled_features, self.num_classes)
        self.feature_info = FeatureInfo(arch)

    def fused(self) -> FusedSMT:
        """The same network for inference: fewer operators, equal within the rounding of fp32.

        It has weights of its own, in the precision and on the device of this one's, and takes the
        statistics that batch norms hold now. What is trained and saved is this network.
        """
        stages = [stage for stage in self.stages if isinstance(stage, SMTStage)]
        return FusedSMT(self.arch, stages, self.head, self.features_only)

    def reset_classifier(
        self, num_classes: int, *, generator: torch.Generator | None = None
    ) -> None:
        """Replace the head by a fresh one; with 0 classes the pooled features are returned.

        Raises:
            ConfigError: the network was built with `features_only`.
        """
        if self.features_only:
            raise ConfigError(
                "reset_classifier: a features-only network has no head "
                f"(got num_classes={num_classes}). Build it without features_only."
            )
        weight = next(self.parameters())
        self.num_classes = num_classes
        if num_classes:
            self.arch = self.arch.model_copy(update={"num_classes": num_classes})
        self.head = _build_head(self.pooled_features, num_classes)
        self.head.apply(lambda m: _init_module(m, generator))
        self.head.to(device=weight.device, dtype=weight.dtype)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute blocks in the backward pass: less memory, about a third more time."""
        for stage in self.stages:
            assert isinstance(stage, SMTStage)
            stage.grad_checkpointing = enable

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Which parameters make up a layer, in timm's form, for a rate that decays by layer.

        The stem is the first layer, each block one, the head the last. A downsampling goes with
        the block after it, a stage's norm with the block before it. `coarse`: a layer is a stage.
        """
        by_block = [
            (r"^stages\.(\d+)\.embed", (0,)),
            (r"^stages\.(\d+)\.blocks\.(\d+)", None),
            (r"^stages\.(\d+)\.norm", (99999,)),  # timm's number for "with the one before"
        ]
        return {
            "stem": r"^stages\.0\.embed",
            "blocks": r"^stages\.(\d+)" if coarse else by_block,
        }

    def no_weight_decay(self) -> set[str]:
        """Parameters to exempt from weight decay beside biases and 1-D ones, as timm asks: none."""
        return set()

    def init_weights(self, generator: torch.Generator | None = None) -> None:
        """Draw fresh weights, as the published network does (its init, final effect)."""
        self.apply(lambda m: _init_module(m, generator))


def build(
    spec: str | Path | Architecture,
    features_only: bool = False,
    generator: torch.Generator | None = None,
    device: str | torch.device | None = None,
) -> SMT:
    """Build a network with fresh weights, in train mode.

    Args:
        spec: a preset name (`"smt_t"`), a path to a model config, or an Architecture.
        features_only: return the four stage maps instead of logits; there is no head then.
        generator: of the CPU; torch's global one by default. The weights depend on it alone, not
            on the device.
        device: where to. `"meta"` allocates nothing, for counting.

    Raises:
        UnknownName: neither a preset nor a path.
        ConfigError: the file breaks a rule of `Architecture`.
    """
    arch = load_arch(spec)
    with torch.device("meta"):  # torch's own default init would only burn time and random numbers
        model = SMT(arch, features_only)
    if device is not None and torch.device(device).type == "meta":
        return model
    model.to_empty(device="cpu")
    model.init_weights(generator)
    return model if device is None else model.to(device)


def _build_embed(stage: int, part: Part) -> nn.Module:
    return EMBEDS[part.kind](part)


def _build_block(
    place: tuple[int, int], mixer: Part, ffn: Part, layer_scale: float | None, drop_path: float
) -> Block:
    return Block(mixer, ffn, layer_scale, drop_path)


def build_stages(
    arch: Architecture,
    build_embed: Callable[[int, Part], nn.Module] = _build_embed,
    build_block: Callable[[tuple[int, int], Part, Part, float | None, float], Block] = _build_block,
) -> list[SMTStage]:
    """The four stages, with drop path growing linearly over all blocks.

    Args:
        arch: of the network.
        build_embed: makes what begins a stage, of its number and part.
        build_block: makes a block, of the numbers of its stage and its own, and of what it is.
    """
    last = max(1, sum(s.depth for s in arch.stages) - 1)
    rates = iter([arch.drop_path * i / last for i in range(last + 1)])
    stages = []
    for i, parts in enumerate(decompose(arch).stages):
        blocks = [
            build_block((i, j), mixer, ffn, arch.layer_scale, next(rates))
            for j, (mixer, ffn) in enumerate(parts.blocks)
        ]
        stages.append(SMTStage(build_embed(i, parts.embed), blocks, parts.norm.dim))
    return stages


def _build_head(features: int, num_classes: int) -> nn.Module:
    return nn.Linear(features, num_classes) if num_classes else nn.Identity()


def initial_values(module: nn.Module) -> list[tuple[Tensor, float, float]]:
    """What the parameters that `module` itself holds start as: tensor, mean, standard deviation.

    For `nn.Module.apply`, which comes to a module after its children.
    """
    if isinstance(module, nn.Linear):
        # published as a normal of std 0.02 truncated at +-2: 100 sigma, so a plain normal
        return [(module.weight, 0.0, 0.02), (module.bias, 0.0, 0.0)]
    if isinstance(module, nn.Conv2d):
        # every kernel is square over pixels but SAM's aggregate, (heads, 1): 1x1 over pixels
        fan_out = module.kernel_size[1] ** 2 * module.out_channels // module.groups
        bias = [] if module.bias is None else [(module.bias, 0.0, 0.0)]
        return [(module.weight, 0.0, math.sqrt(2 / fan_out)), *bias]
    if isinstance(module, nn.LayerNorm | nn.BatchNorm2d):
        return [(module.weight, 1.0, 0.0), (module.bias, 0.0, 0.0)]
    if isinstance(module, LayerScale):
        return [(module.gamma, module.init, 0.0)]
    if isinstance(module, SAM):
        # a 1x1 convolution in the published network, so drawn as one
        return [(module.modulate.weight, 0.0, math.sqrt(2 / module.modulate.out_features))]
    return []


def _init_module(module: nn.Module, generator: torch.Generator | None) -> None:
    """Fresh values for the parameters and buffers that `module` itself holds."""
    with torch.no_grad():
        for tensor, mean, std in initial_values(module):
            if std:
                tensor.normal_(mean, std, generator=generator)
            else:
                tensor.fill_(mean)
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
