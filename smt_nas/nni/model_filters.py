"""Filters: which networks of NNI's strategies are worth evaluating. For `nni.nas.strategy.Chain`.

    Chain(Random(seed=0), budget_filter(space, "12MMACs", "0.3ms"), once_filter(space))

What a filter turns away costs nothing, and the strategy goes on; after `patience` networks in a row
NNI ends the search.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from smt_nas.errors import ConfigError
from smt_nas.nni.space_module import SMTModelSpace
from smt_nas.nni.space_profiler import MetricProfiler
from smt_nas.runtime.imports import import_nni
from smt_nas.search.problem.problem import Problem
from smt_nas.space.sample import Sample, read_samples

PATIENCE = 10_000  # a budget may leave one network in a thousand; NNI's own patience is 1,000


def budget_filter(model_space: SMTModelSpace, *budgets: str, patience: int = PATIENCE) -> Any:
    """Let pass what meets budgets (`"2.4GFLOPs"`, `"5ms@a100:b1:fp16"`, `"0.9*smt_t"`).

    Raises:
        ConfigError: a budget or a device that is not known, or no budget.
    """
    if not budgets:
        raise ConfigError("budget_filter: must have a budget (got none). Give one: '2.4GFLOPs'.")
    problem = Problem.of(model_space.space, budgets)

    def holds(sample: Sample) -> bool:
        return bool(problem.feasible(read_samples(problem.space, [sample]))[0])

    return _make_filter(holds, patience)


def range_filter(
    profiler: MetricProfiler,
    low: float | None = None,
    high: float | None = None,
    patience: int = PATIENCE,
) -> Any:
    """Let pass what lies within [low, high] of a profiler; None is no end."""

    def holds(sample: Sample) -> bool:
        value = profiler.profile(sample)
        return (low is None or low <= value) and (high is None or value <= high)

    return _make_filter(holds, patience)


def once_filter(model_space: SMTModelSpace, patience: int = PATIENCE) -> Any:
    """Let pass every network once. NNI compares samples, and equal networks may have several."""
    passed: set[bytes] = set()

    def holds(sample: Sample) -> bool:
        row = read_samples(model_space.space, [sample]).tobytes()
        is_new = row not in passed
        passed.add(row)
        return is_new

    return _make_filter(holds, patience)


def _make_filter(holds: Callable[[Sample], bool], patience: int) -> Any:
    """NNI's Filter of a rule on samples."""
    strategy = import_nni("nni.nas.strategy.middleware", "smt_nas.nni")
    return strategy.Filter(lambda model: holds(model.sample), patience=patience)
