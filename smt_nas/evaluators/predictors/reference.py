"""The published pattern that networks are measured against, at full size and for small images."""

from __future__ import annotations

from functools import cache

from smt_nas.arch import PRESETS, Architecture, Stage, Stem
from smt_nas.space import SpaceConfig

Given = Architecture | SpaceConfig
"""What says which images and classes a network is for."""


def is_small(given: Given) -> bool:
    """Whether a network is for small images: those have another stem."""
    return given.stem.stride == 2


def is_imagenet(given: Given) -> bool:
    """Whether a network is for what the published ones were trained on: 224 px, 1,000 classes."""
    given_input = (given.image_size, given.num_classes, given.in_channels)
    return not is_small(given) and given_input == (224, 1000, 3)


def published(small: bool) -> tuple[Architecture, ...]:
    """The published networks, the smallest first; or their like for small images."""
    return (_like_t(),) if small else tuple(PRESETS.values())


def smallest(small: bool) -> Architecture:
    """SMT-T, or its like for small images."""
    return published(small)[0]


def at(given: Given) -> Architecture:
    """SMT-T, or its like for small images, for such images and classes."""
    base = smallest(is_small(given))
    return base.model_copy(
        update={name: getattr(given, name) for name in ("image_size", "num_classes", "in_channels")}
    )


@cache
def _like_t() -> Architecture:
    """SMT-T with 3/8 of its widths and half its depths, for images of 32 px: 12.8 MMACs.

    Of that size so that what can be trained in minutes, 5 to 40 MMACs, lies about it as networks
    of 1 to 8 GMACs lie about SMT-T.
    """
    rows = zip((24, 48, 96, 192), (1, 1, 4, 1), (0.0, 0.0, 0.5, 1.0), strict=True)
    s1, s2, s3, s4 = (
        Stage(dim=c, depth=d, mlp_ratio=2.0, attention_ratio=a, head_dim=24) for c, d, a in rows
    )
    return Architecture(image_size=32, num_classes=10, stem=Stem(stride=2), stages=(s1, s2, s3, s4))
