"""`rating_evaluator`: an evaluator of ours as NNI's engines ask one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from smt_nas.errors import ConfigError
from smt_nas.evaluators import Evaluator, make_evaluator
from smt_nas.evaluators.base import InputBound, SpaceBound
from smt_nas.models import SMT
from smt_nas.nni.space_module import SMTModelSpace
from smt_nas.runtime.imports import import_nni
from smt_nas.space import SearchSpace, SpaceConfig


def rating_evaluator(model_space: SMTModelSpace, evaluator: str = "joint") -> Any:
    """An `nni.nas.evaluator.FunctionalEvaluator` that reports what an evaluator of ours says.

    Args:
        model_space: whose networks are rated.
        evaluator: of `--evaluator`: `joint`, `capacity`, `mypkg.mymod:fn`. NNI's strategies want
            the highest figure.

    Raises:
        ConfigError: no such evaluator, one that needs to be told more, or not for this space.
    """
    config = model_space.space.config.model_dump(mode="json")
    _make(evaluator, json.dumps(config))
    functional = import_nni("nni.nas.evaluator.functional", "smt_nas.nni")
    return functional.FunctionalEvaluator(rate_network, evaluator=evaluator, config=config)


def rate_network(network: SMT, evaluator: str, config: Mapping[str, Any]) -> None:
    """Rate a network of `SMTModelSpace` and report the figure to NNI.

    Raises:
        ConfigError: it could not be rated; NNI counts the trial as failed.
    """
    evaluation = _make(evaluator, json.dumps(config)).evaluate([network.arch])[0]
    if evaluation.compared is None:
        raise ConfigError(f"network {network.arch.key}: has no figure ({evaluation.failure}).")
    import_nni("nni", "smt_nas.nni").report_final_result(evaluation.compared)


@lru_cache(4)
def _make(word: str, config: str) -> Evaluator:
    """The evaluator that suits the images of a space, made once."""
    space = SearchSpace(SpaceConfig.model_validate_json(config))
    evaluator = make_evaluator(word)
    if isinstance(evaluator, InputBound):
        evaluator = evaluator.for_space(space)
    if isinstance(evaluator, SpaceBound):
        evaluator.check_space(space)
    return evaluator
