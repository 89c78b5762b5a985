"""Which networks to try next, and what came of it.

    from smt_nas import search
    outcome = search.create_search(search.Settings(budgets=["2.4GFLOPs"], seed=0)).run()
    outcome.front[0].arch, outcome.front[0].values

`create_search` begins a search, `resume_search` takes one up again; `Search.run` goes on to the
end.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from smt_nas.search.loop.search_loop import Search
    from smt_nas.search.problem.objectives import LatencyTarget, TargetMetric
    from smt_nas.search.problem.problem import Problem
    from smt_nas.search.proposal.strategy import History, Strategy
    from smt_nas.search.results.outcome import Outcome
    from smt_nas.search.results.results import Result
    from smt_nas.search.settings import Settings
    from smt_nas.search.setup.create import create_search
    from smt_nas.search.setup.resume import resume_search
    from smt_nas.search.storage.study import Study
    from smt_nas.search.storage.trial import Trial
    from smt_nas.search.strategies import STRATEGIES

__all__ = [
    "STRATEGIES",
    "History",
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
    "create_search",
    "resume_search",
]

_HOMES = {
    "setup.create": ("create_search",),
    "setup.resume": ("resume_search",),
    "loop.search_loop": ("Search",),
    "results.outcome": ("Outcome",),
    "results.results": ("Result",),
    "problem.objectives": ("TargetMetric", "LatencyTarget"),
    "problem.problem": ("Problem",),
    "settings": ("Settings",),
    "strategies": ("STRATEGIES",),
    "proposal.strategy": ("History", "Strategy"),
    "storage.study": ("Study",),
    "storage.trial": ("Trial",),
}


def __getattr__(name: str) -> Any:
    """Import on use: a worker process needs none of Optuna, pymoo and scikit-learn."""
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"smt_nas.search.{module}"), name)
    raise AttributeError(f"module 'smt_nas.search' has no attribute {name!r}")
