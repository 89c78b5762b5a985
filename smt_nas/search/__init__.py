"""Which networks to try next, and what came of it.

    from smt_nas import search
    outcome = search.start(["2.4GFLOPs"], n=128, seed=0).run()
    outcome.front[0].arch, outcome.front[0].values

`start` begins a search, `reopen` takes one up again; `Search.run` goes on to the end.
"""

from smt_nas.search.begin import DEFAULT_EVALUATOR, reopen, start
from smt_nas.search.engine import Outcome, Search
from smt_nas.search.front import Result
from smt_nas.search.listener import Listener
from smt_nas.search.problem import Problem
from smt_nas.search.strategies import STRATEGIES, Strategy
from smt_nas.search.study import Study, Trial

__all__ = [
    "DEFAULT_EVALUATOR",
    "STRATEGIES",
    "Listener",
    "Outcome",
    "Problem",
    "Result",
    "Search",
    "Strategy",
    "Study",
    "Trial",
    "reopen",
    "start",
]
