"""`FeatureInfo`: what the maps of a features-only network are, told the way timm tells it.

Detection and segmentation code asks a timm backbone for `channels()` and `reduction()`. The same
calls work here, without timm.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

from smt_nas.arch import Architecture

Feature = dict[str, Any]
"""`num_chs` (channels), `reduction` (pixels of the image per position), `module`, `index`."""


class FeatureInfo:
    """The maps in order, shallow to deep.

    `idx` picks maps by number: one value for an int, a list for several, all of them for None.
    """

    def __init__(self, arch: Architecture) -> None:
        self.info: list[Feature] = [
            {
                "num_chs": stage.dim,
                "reduction": arch.stem.stride * 2**i,
                "module": f"stages.{i}",
                "index": i,
            }
            for i, stage in enumerate(arch.stages)
        ]
        self.out_indices = tuple(range(len(self.info)))

    def get(self, key: str, idx: int | Sequence[int] | None = None) -> Any:
        """One field of the maps, by its name."""
        if isinstance(idx, int):
            return self.info[idx][key]
        return [self.info[i][key] for i in (self.out_indices if idx is None else idx)]

    def get_dicts(
        self, keys: Sequence[str] | None = None, idx: int | Sequence[int] | None = None
    ) -> Feature | list[Feature]:
        """The maps as dicts, of `keys` only where given."""
        if isinstance(idx, int):
            return {k: self.info[idx][k] for k in keys or self.info[idx]}
        chosen = self.out_indices if idx is None else idx
        return [{k: self.info[i][k] for k in keys or self.info[i]} for i in chosen]

    def channels(self, idx: int | Sequence[int] | None = None) -> Any:
        """Channels of the maps."""
        return self.get("num_chs", idx)

    def reduction(self, idx: int | Sequence[int] | None = None) -> Any:
        """Pixels of the image per position of the map, in each direction."""
        return self.get("reduction", idx)

    def module_name(self, idx: int | Sequence[int] | None = None) -> Any:
        """The modules that the maps come from."""
        return self.get("module", idx)

    @overload
    def __getitem__(self, item: int) -> Feature: ...
    @overload
    def __getitem__(self, item: slice) -> list[Feature]: ...
    def __getitem__(self, item: int | slice) -> Feature | list[Feature]:
        return self.info[item]

    def __len__(self) -> int:
        return len(self.info)
