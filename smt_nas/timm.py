"""SMT in timm's registry: `import smt_nas.timm`, then `timm.create_model("smt_t")`.

Registered are the published networks; `smt` takes any model config or `Architecture` as `config`,
and `register` gives one a name of its own, with its weights where there are some:

    timm.create_model("smt", config="runs/a1/front/0.yaml", num_classes=10)
    smt_nas.timm.register("runs/a1/front/0.yaml", "smt_a1", weights="best.safetensors")

Importing this registers, as importing a module of timm does.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from smt_nas.arch import PRESETS, Architecture, load_arch
from smt_nas.errors import ConfigError
from smt_nas.models.mixers import nchw
from smt_nas.models.official_weights import OFFICIAL_ANCHOR, from_official, is_official
from smt_nas.models.smt import OWN_ANCHOR, SMT
from smt_nas.models.weight_sets import find_weight_sets, match_weight_sets
from smt_nas.runtime.torchvision_ops import import_timm

timm = import_timm()

__all__ = ["TimmSMT", "checkpoint_filter_fn", "default_cfgs", "is_free", "register"]
default_cfgs: dict[str, Any] = {}
"""timm's form: by name, what a network takes and where its weights are. `register` adds to it."""

_POOLS = ("avg", "max", "avgmax", "catavgmax", "")
_ANY = "smt"


class TimmSMT(SMT):
    """An SMT as timm's own code expects a network: the same weights under the same names.

    Args:
        arch: which network.
        num_classes: outputs of the head; 0 for none. The architecture's by default.
        in_chans: channels of the image. The architecture's by default.
        img_size: pixels, one number or height and width; the network takes any size, and this one
            is what `pretrained_cfg["input_size"]` then says.
        global_pool: `avg`, as in `SMT`; `max`, `avgmax`, `catavgmax`; empty for none.
        drop_rate: dropout before the head.
        drop_path_rate: stochastic depth of the last block. The architecture's by default.
        device: where the weights are.
        dtype: of the weights.
    """

    output_fmt = "NHWC"  # of `forward_features`, as timm's attribute is called

    def __init__(
        self,
        arch: Architecture,
        num_classes: int | None = None,
        in_chans: int | None = None,
        img_size: int | tuple[int, int] | None = None,
        global_pool: str = "avg",
        drop_rate: float = 0.0,
        drop_path_rate: float | None = None,
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        changes = {
            "in_channels": in_chans,
            "drop_path": drop_path_rate,
            "image_size": img_size if isinstance(img_size, int) else None,
        }
        given = {name: value for name, value in changes.items() if value is not None}
        super().__init__(Architecture.model_validate(arch.model_dump() | given))
        self.head_hidden_size = self.num_features
        self.drop_rate = drop_rate
        self.init_weights()
        self.reset_classifier(arch.num_classes if num_classes is None else num_classes, global_pool)
        self.to(device=device, dtype=dtype)

    def get_classifier(self) -> nn.Module:
        """The head."""
        return self.head

    def reset_classifier(
        self,
        num_classes: int,
        global_pool: str | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        """Replace the head by a fresh one, and the pooling where another is asked for.

        Raises:
            ConfigError: timm has no such pooling.
        """
        if global_pool is not None:
            if global_pool not in _POOLS:
                raise ConfigError(
                    f"global_pool: must be one of {', '.join(p for p in _POOLS if p)}, or empty "
                    f"for none (got {global_pool!r})."
                )
            self.global_pool = timm.layers.SelectAdaptivePool2d(
                pool_type=global_pool, flatten=True, input_fmt=self.output_fmt
            )
            if not global_pool:
                self.global_pool.flatten = nn.Identity()
            self.pooled_features = self.num_features * self.global_pool.feat_mult()
        super().reset_classifier(num_classes, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """Images `(B, C, H, W)` to logits `(B, classes)`; see `forward_head`."""
        return self.forward_head(self.forward_features(x))

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """The last map `(B, H, W, C)` to logits `(B, classes)`.

        Returns: the pooled features `(B, C)` where `pre_logits` asks for them or there is no head.
            Nothing is pooled where the network was built so, and the positions stay.
        """
        x = self.global_pool(x)
        x = nn.functional.dropout(x, self.drop_rate, self.training)
        logits: Tensor = x if pre_logits else self.head(x)
        return logits

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | Sequence[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """Images `(B, C, H, W)` to the maps of stages.

        Args:
            x: the images.
            indices: the stages; the last ones for an int, all of them for None.
            norm: has no effect: the map of a stage is normed always, and the next one takes it so.
            stop_early: leave out the stages after the last one asked for.
            output_fmt: of the maps, `NCHW` or `NHWC`.
            intermediates_only: return the maps alone.

        Returns: the last map that was computed `(B, H, W, C)`, and the maps in the order of the
            stages.

        Raises:
            ConfigError: there is no such format or stage.
        """
        if output_fmt not in ("NCHW", "NHWC"):
            raise ConfigError(f"output_fmt: must be NCHW or NHWC (got {output_fmt}).")
        chosen = _choose_stages(len(self.stages), indices)
        stages = self.stages[: max(chosen) + 1] if stop_early else self.stages
        maps = []
        for i, stage in enumerate(stages):
            x = stage(x)
            if i in chosen:
                maps.append(nchw(x) if output_fmt == "NCHW" else x)
        return maps if intermediates_only else (x, maps)

    def prune_intermediate_layers(
        self,
        indices: int | Sequence[int] = 1,
        prune_norm: bool = False,
        prune_head: bool = True,
    ) -> list[int]:
        """Remove the stages after the last one asked for; `prune_norm` has no effect.

        Returns: the stages asked for, counted from the first.
        """
        chosen = _choose_stages(len(self.stages), indices)
        self.stages = self.stages[: max(chosen) + 1]
        if prune_head:
            self.reset_classifier(0, "")
        return chosen


def _choose_stages(count: int, indices: int | Sequence[int] | None) -> list[int]:
    """Stages by number from the first, as timm's `indices` name them: see `forward_intermediates`.

    Raises:
        ConfigError: there is no such stage, or none is asked for.
    """
    if indices is None:
        return list(range(count))
    if isinstance(indices, int):
        chosen = list(range(count - indices, count))
    else:
        chosen = [i + count if i < 0 else i for i in indices]
    if not chosen or min(chosen) < 0 or max(chosen) >= count:
        raise ConfigError(
            f"indices: must be stages from {-count} to {count - 1}, or how many of the last (got "
            f"{indices})."
        )
    return chosen


def register(
    spec: str | Path | Architecture,
    name: str,
    weights: str | Path | None = None,
    **pretrained_cfg: Any,  # timm's own fields, as any module of timm hands them on
) -> Callable[..., nn.Module]:
    """Give a network a name in timm's registry.

    Args:
        spec: a preset, a path to a model config, or an Architecture.
        name: what `timm.create_model` is to know it by; one that was given here before is
            replaced.
        weights: a .safetensors file that `pretrained=True` loads.
        pretrained_cfg: fields of timm's PretrainedCfg, e.g. `mean`, `crop_pct`, `label_names`.

    Returns: makes the network; what `timm.create_model` calls.

    Raises:
        ConfigError: the name is that of a network of timm's or a published one, or has a dot, which
            timm reads as the name of weights; or the config breaks a rule.
    """
    arch = load_arch(spec)
    if "." in name or not is_free(name):
        reason = "has a dot" if "." in name else "is another network's"
        raise ConfigError(f"name {name!r}: must be free in timm (got one that {reason}).")
    return _register(arch, name, weights, pretrained_cfg)


def is_free(name: str) -> bool:
    """Whether `register` may give a name: nobody has it, or who got it there."""
    ours = name in default_cfgs and name not in (*PRESETS, _ANY)
    return ours or not timm.is_model(name)


def checkpoint_filter_fn(state_dict: Mapping[str, Any], model: nn.Module) -> dict[str, Any]:
    """Weights of ours or of the published code, as any trainer saves them, under our names.

    Args:
        state_dict: of a file.
        model: that is to take them.

    Returns: as they are where no one network is recognised; loading then says what is missing.
    """
    sets = match_weight_sets(find_weight_sets(state_dict, (OWN_ANCHOR, OFFICIAL_ANCHOR)), None)
    if len(sets) != 1:
        return dict(state_dict)
    tensors = sets[0].tensors
    if not is_official(tensors):
        return tensors
    state, unknown = from_official(tensors)
    return state | {key: tensors[key] for key in unknown}


def _register(
    arch: Architecture, name: str, weights: str | Path | None, fields: Mapping[str, Any]
) -> Callable[..., nn.Module]:
    def create(pretrained: bool = False, **options: Any) -> nn.Module:
        return _create(name, arch, {}, pretrained, options)

    create.__name__ = create.__qualname__ = name
    cfg = _describe_arch(arch) | dict(fields)
    default_cfgs[name] = cfg | ({} if weights is None else {"file": str(weights)})
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", f"Overwriting {name}")  # one of ours, on purpose
        entry: Callable[..., nn.Module] = timm.models.register_model(create)
    return entry


def _describe_arch(arch: Architecture) -> dict[str, Any]:
    return {
        "num_classes": arch.num_classes,
        "input_size": (arch.in_channels, arch.image_size, arch.image_size),
        "first_conv": "stages.0.embed.conv1",
        "classifier": "head",
    }


def _create(
    name: str,
    arch: Architecture,
    fields: dict[str, Any],
    pretrained: bool,
    options: dict[str, Any],
) -> nn.Module:
    """Build a network the way timm does.

    Args:
        name: in the registry.
        arch: which network.
        fields: of its PretrainedCfg, where the registry's are of another network.
        pretrained: load weights.
        options: what `timm.create_model` was given.
    """
    size = options.get("img_size")
    if size is not None:
        height, width = (size, size) if isinstance(size, int) else size
        fields = fields | {"input_size": (arch.in_channels, height, width)}
    overlay = fields | (options.pop("pretrained_cfg_overlay", None) or {})
    chosen = options.pop("pretrained_cfg", None)
    cfg = timm.models.resolve_pretrained_cfg(name, chosen, overlay)
    if pretrained and not (cfg.has_weights or cfg.state_dict):
        raise ConfigError(
            f"timm model {name}: must have weights for pretrained=True (got none). Name a file: "
            "pretrained_cfg_overlay={'file': 'best.safetensors'}, or leave pretrained out."
        )
    model: nn.Module = timm.models.build_model_with_cfg(
        TimmSMT,
        name,
        pretrained,
        cfg.to_dict(),
        pretrained_filter_fn=checkpoint_filter_fn,
        feature_cfg={"out_indices": (0, 1, 2, 3), "feature_cls": "getter"},
        arch=arch,
        **options,
    )
    return model


def smt(pretrained: bool = False, config: Any = None, **options: Any) -> nn.Module:
    """Any network: `timm.create_model("smt", config="net.yaml")`.

    Raises:
        ConfigError: no config is given, or it breaks a rule.
    """
    if config is None:
        raise ConfigError(
            f"timm model {_ANY}: must have a config (got none). Give config= a path to a model "
            "config or an Architecture, or name a preset, e.g. smt_t."
        )
    arch = load_arch(config)
    return _create(_ANY, arch, _describe_arch(arch), pretrained, options)


default_cfgs[_ANY] = _describe_arch(PRESETS["smt_t"])
timm.models.register_model(smt)
for _name, _arch in PRESETS.items():
    _register(_arch, _name, None, {})
