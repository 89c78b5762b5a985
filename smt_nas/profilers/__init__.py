"""What was measured: latency, memory, energy, and op counters of other people."""

from smt_nas.profilers.compare import Verdict, verdict
from smt_nas.profilers.counters import Count, count, count_by_module
from smt_nas.profilers.latency.measurement import Measurement
from smt_nas.profilers.latency.sampling import Limits, interleave, measure
from smt_nas.profilers.latency.stats import Summary, summarise
from smt_nas.runtime.environment import read_environment

__all__ = [
    "Count",
    "Limits",
    "Measurement",
    "Summary",
    "Verdict",
    "count",
    "count_by_module",
    "interleave",
    "measure",
    "read_environment",
    "summarise",
    "verdict",
]
