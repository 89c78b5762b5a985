"""How good a network is: the `Evaluator` protocol and its implementations.

`EVALUATORS` names those the command line offers; those that need torch are imported on use.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from smt_nas.errors import ConfigError, UnknownName
from smt_nas.evaluators.base import (
    Evaluation,
    Evaluator,
    Foresees,
    FunctionEvaluator,
    ReplayEvaluator,
    Returned,
    Trains,
)
from smt_nas.evaluators.function import NamedFunction

if TYPE_CHECKING:
    from smt_nas.evaluators.capacity import CapacityEvaluator
    from smt_nas.evaluators.joint import JointEvaluator
    from smt_nas.evaluators.predictor import PredictorEvaluator
    from smt_nas.evaluators.zero_cost import ZeroCostEvaluator

__all__ = [
    "EVALUATORS",
    "Evaluation",
    "Evaluator",
    "Foresees",
    "FunctionEvaluator",
    "ReplayEvaluator",
    "Returned",
    "Trains",
    "make_evaluator",
]


def _joint() -> JointEvaluator:
    from smt_nas.evaluators.joint import JointEvaluator

    return JointEvaluator()


def _predictor() -> PredictorEvaluator:
    from smt_nas.evaluators.predictor import PredictorEvaluator

    return PredictorEvaluator()


def _capacity() -> CapacityEvaluator:
    from smt_nas.evaluators.capacity import CapacityEvaluator

    return CapacityEvaluator()


def _zero_cost() -> ZeroCostEvaluator:
    from smt_nas.evaluators.zero_cost import ZeroCostEvaluator

    return ZeroCostEvaluator()


EVALUATORS: dict[str, Callable[[], Evaluator]] = {
    "joint": _joint,
    "predictor": _predictor,
    "capacity": _capacity,
    "zero-cost": _zero_cost,
}


def make_evaluator(name: str) -> Evaluator:
    """Make an evaluator by name, or of your own function: `mypkg.mymod:fn`.

    Raises:
        UnknownName: no such evaluator.
        ConfigError: a function that cannot be imported, or one that needs data.
    """
    if ":" in name:
        return NamedFunction(name)
    if name == "short-train":
        raise ConfigError(
            "evaluator short-train: must have data to train on (got none). Use it in a search: "
            "smt-nas search --data DATA."
        )
    if name not in EVALUATORS:
        way_out = "Or your own function: mypkg.mymod:fn. With --data, a search knows short-train."
        raise UnknownName("evaluator", name, EVALUATORS, way_out, also=["short-train"])
    return EVALUATORS[name]()
