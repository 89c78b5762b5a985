"""The weights of a network that is handed over, as safetensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from smt_nas.export.source import ExportSource


def write_weights(
    source: ExportSource, path: Path, tensors: Mapping[str, Tensor] | None = None
) -> None:
    """Write weights, with the card of their training where there is one.

    Args:
        source: the network.
        path: of the file.
        tensors: under other names than ours; ours by default.

    Raises:
        OSError: the disk is full, the folder cannot be written.
        StoreError: safetensors is not installed.
    """
    from smt_nas.train.weights.tensors import write_tensors

    card = source.weights.card
    metadata = {"format": "pt"} if card is None else card.to_metadata()  # one entry: same bytes
    write_tensors(path, source.model.state_dict() if tensors is None else tensors, metadata)
