"""What a backbone with a head costs, by the paper's protocol and by ours.

Both count convolutions and linears, 1 multiply-accumulate = 1. The paper's leaves the two attention
products out, as its counter saw modules only; ours counts them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from smt_nas.arch import PRESETS, Architecture
from smt_nas.costs.estimate import by_part
from smt_nas.costs.heads.head_config import HeadConfig
from smt_nas.costs.heads.head_part import HeadPart, Maps
from smt_nas.costs.heads.head_table import PUBLISHED_COSTS, HeadEntry, PublishedCosts
from smt_nas.costs.parts import Size, token_sizes
from smt_nas.errors import ConfigError

_LEAST, _MOST = 32, 8192  # pixels a side


@dataclass(frozen=True)
class TaskCosts:
    """Costs of one whole model on one image, in inference.

    Attributes:
        head: which.
        config: its widths and classes.
        input_size: height and width of the image.
        padded_size: the same, as the backbone takes it.
        backbone_params: learned numbers, without a classifier.
        backbone_macs: without the attention products.
        attention_macs: the two attention products of all its blocks.
        parts: neck and head.
        published: what the paper prints, of a preset at the published input.
    """

    head: HeadEntry
    config: HeadConfig
    input_size: Size
    padded_size: Size
    backbone_params: int
    backbone_macs: int
    attention_macs: int
    parts: tuple[HeadPart, ...]
    published: PublishedCosts | None

    @property
    def params(self) -> int:
        """Learned numbers of the whole, an auxiliary head included."""
        return self.backbone_params + sum(part.params for part in self.parts)

    @property
    def paper_macs(self) -> int:
        """By the paper's protocol."""
        return self.backbone_macs + sum(part.macs for part in self.parts)

    @property
    def macs(self) -> int:
        """All of them."""
        return self.paper_macs + self.attention_macs

    def as_dict(self) -> dict[str, Any]:
        """Everything, as plain values."""
        paper = self.published
        return {
            "task": self.head.task,
            "head": self.head.name,
            "config": self.config.model_dump(mode="json"),
            "input_size": list(self.input_size),
            "padded_size": list(self.padded_size),
            "params": self.params,
            "macs": self.macs,
            "macs_without_attention": self.paper_macs,
            "attention_macs": self.attention_macs,
            "parts": [
                {
                    "part": "backbone",
                    "group": "backbone",
                    "params": self.backbone_params,
                    "macs": self.backbone_macs,
                    "training_macs": 0,
                },
                *(
                    {
                        "part": part.name,
                        "group": part.group,
                        "params": part.params,
                        "macs": part.macs,
                        "training_macs": part.training_macs,
                    }
                    for part in self.parts
                ),
            ],
            "published": None
            if paper is None
            else {"params_m": paper.params_m, "gflops": paper.gflops, "source": paper.source},
        }


def count_task(
    arch: Architecture,
    head: HeadEntry,
    config: HeadConfig | None = None,
    input_size: Size | None = None,
) -> TaskCosts:
    """Count a network as the backbone of a head.

    Args:
        arch: the network; its own classifier and image size do not matter.
        head: an entry of HEADS.
        config: of the head; the published one by default.
        input_size: height and width of the image; those of the publication by default.

    Raises:
        ConfigError: the image is too small or too large.
    """
    size = head.input_size if input_size is None else input_size
    config = head.config() if config is None else config
    padded = pad_size(size, 8 * arch.stem.stride) if head.pads else size
    check_input_size(size)
    backbone = [part for part in by_part(arch, padded) if part.kind != "head"]
    attention = sum(part.attention_macs for part in backbone)
    maps = Maps([s.dim for s in arch.stages], token_sizes(padded, arch.stem.stride)[1:])
    return TaskCosts(
        head=head,
        config=config,
        input_size=size,
        padded_size=padded,
        backbone_params=sum(part.params for part in backbone),
        backbone_macs=sum(part.macs for part in backbone) - attention,
        attention_macs=attention,
        parts=tuple(head.count(config, maps)),
        published=_find_published(arch, head, config, size),
    )


def pad_size(size: Size, multiple: int) -> Size:
    """The size rounded up to a multiple: published detectors fill up with zeros below and right."""
    return -(-size[0] // multiple) * multiple, -(-size[1] // multiple) * multiple


def check_input_size(size: Size) -> None:
    """Raise ConfigError where an image is too small for four maps, or too large."""
    text = f"{size[0]}x{size[1]}"
    if not all(_LEAST <= side <= _MOST for side in size):
        raise ConfigError(
            f"input size: both sides must be from {_LEAST} to {_MOST} px (got {text}). "
            "Write height x width, e.g. 800x1280."
        )


def _find_published(
    arch: Architecture, head: HeadEntry, config: HeadConfig, size: Size
) -> PublishedCosts | None:
    if size != head.input_size or config != head.config():
        return None
    names = (name for name, preset in PRESETS.items() if _is_same_backbone(arch, preset))
    return next(
        (PUBLISHED_COSTS[n, head.name] for n in names if (n, head.name) in PUBLISHED_COSTS), None
    )


def _is_same_backbone(arch: Architecture, preset: Architecture) -> bool:
    """Whether two networks differ in their classifier and image at most."""
    free = {"image_size": preset.image_size, "num_classes": preset.num_classes}
    return arch.model_copy(update=free).key == preset.key
