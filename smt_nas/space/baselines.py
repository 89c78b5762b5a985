"""The published networks as a space's baselines."""

from __future__ import annotations

from smt_nas.arch import PRESETS, Architecture
from smt_nas.space import SearchSpace


def baselines(space: SearchSpace) -> dict[str, Architecture]:
    """The presets at the space's image size, channels and classes, by name."""
    config = space.config
    shared = {n: getattr(config, n) for n in ("image_size", "num_classes", "in_channels")}
    return {name: arch.model_copy(update=shared) for name, arch in PRESETS.items()}
