"""What was measured: op counters of other people, latency, memory, energy."""

from smt_nas.profilers.counters import Count, count, count_by_module, runs_finite
from smt_nas.profilers.environment import environment

__all__ = ["Count", "count", "count_by_module", "environment", "runs_finite"]
