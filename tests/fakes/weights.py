"""A small network and the card of its weights."""

from typing import Any

from smt_nas.arch import Architecture, Stage
from smt_nas.train.recipe import EvalTransform
from smt_nas.train.weights.card import Card, HeldOutSplit

TINY = Architecture(
    image_size=32,
    num_classes=3,
    stages=(
        Stage(dim=8, depth=1),
        Stage(dim=8, depth=1, kernels=(1, 5)),
        Stage(dim=8, depth=2, attention_ratio=0.5, head_dim=4, kernels=(3, 7)),
        Stage(dim=8, depth=1, attention_ratio=1.0, head_dim=4),
    ),
)


def card(**changes: Any) -> Card:
    """A card of TINY's weights, with fields changed."""
    fields: dict[str, Any] = {
        "arch": TINY,
        "classes": ("a", "b", "c"),
        "mean": (0.5, 0.5, 0.5),
        "std": (0.2, 0.2, 0.2),
        "evaluation": EvalTransform(),
        "image_size": 32,
        "recipe": "small",
        "data": "digits",
        "seed": 0,
        "epoch": 1,
        "update": 7,
        "weights": "model",
        "validation": {"top1": 50.0, "loss": float("inf")},
        "split": HeldOutSplit(fraction=0.1, seed=0),
        "versions": {"torch": "2"},
    }
    return Card(**(fields | changes))
