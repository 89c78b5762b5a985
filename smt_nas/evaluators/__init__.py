"""How good a network is: the `Evaluator` protocol, and EVALUATORS, the registry of those there are.

`base` is the contract, `entries` the registry, `choice` what settings say of one. Importing this
loads no torch.
"""

from smt_nas.evaluators.base import (
    BatchEvaluator,
    Estimate,
    Evaluation,
    Evaluator,
    Figures,
    Fittable,
    TrainingEvaluator,
)
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
    "TrainingEvaluator",
    "choose_evaluator",
    "default_evaluator",
    "find_entry",
    "list_evaluators",
    "make_evaluator",
    "standalone_evaluators",
]
