"""Which networks to try next, and what came of it.

    from smt_nas import search
    outcome = search.start(search.Settings(budgets=["2.4GFLOPs"], seed=0)).run()
    outcome.front[0].arch, outcome.front[0].values

`start` begins a search, `reopen` takes one up again; `Search.run` goes on to the end.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from smt_nas.search.engine import Outcome, Search
    from smt_nas.search.objectives import LatencyTarget, TargetMetric
    from smt_nas.search.problem import Problem
    from smt_nas.search.results import Result
    from smt_nas.search.run_directory import DEFAULT_EVALUATOR, Settings, recorded_settings, usual_n
    from smt_nas.search.setup import reopen, start
    from smt_nas.search.strategies import STRATEGIES, Strategy
    from smt_nas.search.study import Study, Trial

__all__ = [
    "DEFAULT_EVALUATOR",
    "STRATEGIES",
    "LatencyTarget",
    "Outcome",
    "Problem",
    "Result",
    "Search",
    "Settings",
    "Strategy",
    "Study",
    "TargetMetric",
    "Trial",
    "recorded_settings",
    "reopen",
    "start",
    "usual_n",
]

_HOMES = {
    "setup": ("reopen", "start"),
    "engine": ("Outcome", "Search"),
    "results": ("Result",),
    "objectives": ("TargetMetric", "LatencyTarget"),
    "problem": ("Problem",),
    "run_directory": ("DEFAULT_EVALUATOR", "Settings", "recorded_settings", "usual_n"),
    "strategies": ("STRATEGIES", "Strategy"),
    "study": ("Study", "Trial"),
}


def __getattr__(name: str) -> Any:
    """Import on use: a worker process needs none of Optuna, pymoo and scikit-learn."""
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"smt_nas.search.{module}"), name)
    raise AttributeError(f"module 'smt_nas.search' has no attribute {name!r}")
