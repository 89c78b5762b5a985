"""`FeatureInfo`: what the maps of a features-only network are, told the way timm tells it.

Detection and segmentation code asks a timm backbone for `channels()` and `reduction()`. The same
calls work here, without timm.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from smt_nas.arch import Architecture

Feature = dict[str, Any]
"""`num_chs` (channels), `reduction` (pixels of the image per position), `module`, `index`."""


class FeatureInfo(list[Feature]):
    """The maps in order, shallow to deep; a list, which timm's own code takes as it is.

    `idx` picks maps by number: one value for an int, a list for several, all of them for None.
    """

    def __init__(self, arch: Architecture) -> None:
        super().__init__(
            {
                "num_chs": stage.dim,
                "reduction": arch.stem.stride * 2**i,
                "module": f"stages.{i}",
                "index": i,
            }
            for i, stage in enumerate(arch.stages)
        )
        self.out_indices = tuple(range(len(self)))

    def get(self, key: str, idx: int | Sequence[int] | None = None) -> Any:
        """One field of the maps, by its name."""
        if isinstance(idx, int):
            return self[idx][key]
        return [self[i][key] for i in (self.out_indices if idx is None else idx)]

    def get_dicts(
        self, keys: Sequence[str] | None = None, idx: int | Sequence[int] | None = None
    ) -> Feature | list[Feature]:
        """The maps as dicts, of `keys` only where given."""
        if isinstance(idx, int):
            return {k: self[idx][k] for k in keys or self[idx]}
        chosen = self.out_indices if idx is None else idx
        return [{k: self[i][k] for k in keys or self[i]} for i in chosen]

    def channels(self, idx: int | Sequence[int] | None = None) -> Any:
        """Channels of the maps."""
        return self.get("num_chs", idx)

    def reduction(self, idx: int | Sequence[int] | None = None) -> Any:
        """Pixels of the image per position of the map, in each direction."""
        return self.get("reduction", idx)

    def module_name(self, idx: int | Sequence[int] | None = None) -> Any:
        """The modules that the maps come from."""
        return self.get("module", idx)
