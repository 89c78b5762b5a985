"""How good a network is: the `Evaluator` protocol, and EVALUATORS, the registry of those there are.

`base` is the contract, `entries` the registry, `choice` what settings say of one. Importing this
loads the registry alone, as `--help` needs no more; the contract comes with its first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from smt_nas.evaluators.choice import (
    EvaluatorChoice,
    choose_evaluator,
    find_entry,
    list_evaluators,
    make_evaluator,
)
from smt_nas.evaluators.entries import (
    EVALUATORS,
    EvaluatorEntry,
    default_evaluator,
    standalone_evaluators,
)

if TYPE_CHECKING:
    from smt_nas.evaluators.base import (
        BatchEvaluator,
        Estimate,
        Evaluation,
        Evaluator,
        Figures,
        Fittable,
        RoundEvaluator,
        TrainingEvaluator,
    )
    from smt_nas.evaluators.function import FunctionEvaluator, ReplayEvaluator

__all__ = [
    "EVALUATORS",
    "BatchEvaluator",
    "Estimate",
    "Evaluation",
    "Evaluator",
    "EvaluatorChoice",
    "EvaluatorEntry",
    "Figures",
    "Fittable",
    "FunctionEvaluator",
    "ReplayEvaluator",
    "RoundEvaluator",
    "TrainingEvaluator",
    "choose_evaluator",
    "default_evaluator",
    "find_entry",
    "list_evaluators",
    "make_evaluator",
    "standalone_evaluators",
]

_FUNCTIONS = ("FunctionEvaluator", "ReplayEvaluator")


def __getattr__(name: str) -> Any:
    """Import the contract, or a function's evaluator, on use."""
    if name not in __all__:
        raise AttributeError(f"module 'smt_nas.evaluators' has no attribute {name!r}")
    module = "function" if name in _FUNCTIONS else "base"
    return getattr(import_module(f"smt_nas.evaluators.{module}"), name)
