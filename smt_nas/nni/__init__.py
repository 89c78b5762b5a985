"""For users of NNI 3: spaces, costs, budgets and evaluators as NNI's own classes, and experiments.

    import smt_nas.nni
    from nni.nas.execution import SequentialExecutionEngine
    from nni.nas.space import RawFormatModelSpace
    from nni.nas.strategy import Chain, RegularizedEvolution

    space = smt_nas.nni.model_space("smt_micro")
    strategy = Chain(RegularizedEvolution(seed=0), smt_nas.nni.budget_filter(space, "12MMACs"))
    evaluator = smt_nas.nni.rating_evaluator(space, "joint")
    strategy(RawFormatModelSpace(space, evaluator), SequentialExecutionEngine(200))

Importing this imports nni, told that there is no framework where lightning is not installed: import
it before `nni.nas`.
"""

from smt_nas.nni.model_filters import budget_filter, once_filter, range_filter
from smt_nas.nni.nni_evaluator import rating_evaluator
from smt_nas.nni.space_module import SMTModelSpace, model_space
from smt_nas.nni.space_profiler import MetricProfiler

__all__ = [
    "MetricProfiler",
    "SMTModelSpace",
    "budget_filter",
    "model_space",
    "once_filter",
    "range_filter",
    "rating_evaluator",
]
