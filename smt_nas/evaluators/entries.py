"""EVALUATORS: what `--evaluator` offers. An evaluator is added by a row here.

Help, errors, the usual number of networks, which options apply and where it runs follow from the
row; an option that no evaluator had before is a parameter of `smt-nas search` too. Rows import what
they need when they are used: looking at the table loads no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from smt_nas.evaluators.configs import (
    EvaluatorConfig,
    FunctionTarget,
    ShortTraining,
    TrainedNetworks,
    TrainedSupernet,
)

if TYPE_CHECKING:
    from smt_nas.evaluators.base import Evaluator

USUAL_N = 128  # networks that a search tries
_LEARNABLE = 60  # of fewer, too few are left to learn from when some are held out


@dataclass(frozen=True)
class EvaluatorEntry:
    """A row of EVALUATORS.

    Attributes:
        make: from its config (None where it has none) to the evaluator.
        config: what can be said to it; None for nothing.
        default_n: networks that a search tries where it was not said how many.
        in_worker: it is made and runs in worker processes, where a network that takes long can be
            left; others run in the process of the search.
        runs_user_code: it may hang, exit or print; so it runs in workers always, is held to the
            metrics of its first success, and to one success in its first calls.
        chosen_by: field of its config whose option means this evaluator where none is named.
        written: how users write it, where that is not its name.
        argument: field of its config that users write after its name and a colon.
        find_scope: from its config to the only space that it is for and the budgets within which
            it rates, as a user writes them; None for one that is for many.
        learns_from: networks of a bench that it takes to validate it, some being held out; 0 for
            one that learns from none.
        help: what a figure is, in a few words.
    """

    make: Callable[[Any], Evaluator]
    config: type[EvaluatorConfig] | None = None
    default_n: int = USUAL_N
    in_worker: bool = False
    runs_user_code: bool = False
    chosen_by: str | None = None
    written: str = ""
    argument: str = ""
    find_scope: Callable[[Any], tuple[str, tuple[str, ...]]] | None = None
    learns_from: int = 0
    help: str = ""

    @property
    def needs(self) -> tuple[str, ...]:
        """Fields of its config without which it cannot be made."""
        fields = {} if self.config is None else self.config.model_fields
        return tuple(name for name, field in fields.items() if field.is_required())

    def takes(self, field: str) -> bool:
        """Whether its config has a field."""
        return self.config is not None and field in self.config.model_fields


def _make_joint(config: None) -> Evaluator:
    from smt_nas.evaluators.joint import JointEvaluator

    return JointEvaluator()


def _make_predictor(config: TrainedNetworks | None) -> Evaluator:
    from smt_nas.evaluators.predictors.predictor import PredictorEvaluator

    own = None if config is None else config.bench
    return PredictorEvaluator() if own is None else PredictorEvaluator.of_bench(own)


def _make_capacity(config: None) -> Evaluator:
    from smt_nas.evaluators.capacity import CapacityEvaluator

    return CapacityEvaluator()


def _make_zero_cost(config: None) -> Evaluator:
    from smt_nas.evaluators.zero_cost import ZeroCostEvaluator

    return ZeroCostEvaluator()


def _make_short_train(config: ShortTraining) -> Evaluator:
    from smt_nas.evaluators.short_train.evaluator import ShortTrainEvaluator

    return ShortTrainEvaluator(config)


def _make_supernet(config: TrainedSupernet) -> Evaluator:
    from smt_nas.evaluators.supernet.supernet_evaluator import SupernetEvaluator

    return SupernetEvaluator(config)


def _find_scope_of_supernet(config: TrainedSupernet) -> tuple[str, tuple[str, ...]]:
    from smt_nas.evaluators.supernet.supernet_evaluator import find_scope

    return find_scope(config.run)


def _make_function(config: FunctionTarget) -> Evaluator:
    from smt_nas.evaluators.function import NamedFunction

    return NamedFunction(config.target)


EVALUATORS: dict[str, EvaluatorEntry] = {  # the first is the default
    "joint": EvaluatorEntry(
        _make_joint,
        default_n=32,
        learns_from=_LEARNABLE,
        help="expected ImageNet-1K top-1 (a score for other images), of costs and topology",
    ),
    "predictor": EvaluatorEntry(
        _make_predictor,
        config=TrainedNetworks,
        default_n=32,
        chosen_by="bench",
        learns_from=_LEARNABLE,
        help="learnt from the networks of a bench",
    ),
    "capacity": EvaluatorEntry(
        _make_capacity,
        default_n=32,
        help="expected ImageNet-1K top-1 (a score for other images), of costs alone",
    ),
    "zero-cost": EvaluatorEntry(
        _make_zero_cost,
        in_worker=True,
        help="training-free scores",
    ),
    "short-train": EvaluatorEntry(
        _make_short_train,
        config=ShortTraining,
        default_n=24,
        chosen_by="data",
        help="candidates trained for a few epochs",
    ),
    "supernet": EvaluatorEntry(
        _make_supernet,
        config=TrainedSupernet,
        default_n=64,
        in_worker=True,
        written="supernet:RUN",
        argument="run",
        find_scope=_find_scope_of_supernet,
        help="loss on your data with the weights of a trained supernet",
    ),
    "function": EvaluatorEntry(
        _make_function,
        config=FunctionTarget,
        in_worker=True,
        runs_user_code=True,
        written="your own function, mypkg.mymod:fn",
        help="architecture in, figures out",
    ),
}


def standalone_evaluators() -> list[str]:
    """Names of the evaluators that can be made without being told anything."""
    return [name for name, entry in EVALUATORS.items() if not entry.needs]


def default_evaluator() -> str:
    """Name of the evaluator where nothing else was said."""
    return next(iter(EVALUATORS))
