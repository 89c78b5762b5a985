"""The published pattern that networks are measured against, at full size and for small images."""

from __future__ import annotations

from functools import cache

from smt_nas.arch import PRESETS, Architecture, Stage, Stem


def is_small(stem_stride: int) -> bool:
    """Whether a network with this stem is for small images."""
    return stem_stride == 2


def published(small: bool) -> tuple[Architecture, ...]:
    """The published networks, the smallest first; or their like for small images."""
    return (_like_t(),) if small else tuple(PRESETS.values())


def smallest(small: bool) -> Architecture:
    """SMT-T, or its like for small images."""
    return published(small)[0]


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
