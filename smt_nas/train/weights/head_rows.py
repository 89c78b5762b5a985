"""The rows of a head in the order of other data's classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from smt_nas.train.weights.weights import LoadedWeights

HEAD = ("head.weight", "head.bias")


def reorder_head(loaded: LoadedWeights, classes: Sequence[str]) -> LoadedWeights:
    """Weights whose head has its rows in the order of `classes`.

    They are as they were where they name other classes, or none: only a head of the very same
    classes means the same in another order.
    """
    card = loaded.card
    if card is None or card.classes == tuple(classes) or sorted(card.classes) != sorted(classes):
        return loaded
    rows = torch.tensor([card.classes.index(name) for name in classes])
    head = {name: loaded.state[name][rows] for name in HEAD if name in loaded.state}
    return replace(
        loaded,
        card=card.model_copy(update={"classes": tuple(classes)}),
        state=loaded.state | head,
    )
