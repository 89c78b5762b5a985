"""`MetricProfiler`: what formulas and device tables say of networks, as a profiler of NNI's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from smt_nas.errors import ConfigError
from smt_nas.nni.space_module import SMTModelSpace
from smt_nas.runtime.imports import import_nni
from smt_nas.search.problem.objectives import Floats
from smt_nas.search.problem.problem import Problem
from smt_nas.space.sample import Sample, read_samples

_profiler = import_nni("nni.nas.profiler", "smt_nas.nni")


class MetricProfiler(_profiler.Profiler):  # type: ignore[misc, name-defined]
    """A cost by formula, or a latency that is predicted for a device, of samples of a space.

    Attributes:
        name: of the metric, with its unit, e.g. `latency_ms`.
    """

    def __init__(
        self, model_space: SMTModelSpace, metric: str = "macs", device: str | None = None
    ) -> None:
        """Choose what is told.

        Args:
            model_space: whose networks.
            metric: as `--objective` names it: `macs`, `params`, `latency`, `throughput`.
            device: of a latency, e.g. `a100:b1:fp16`; this machine's own by default.

        Raises:
            ConfigError: no such metric or device, or one that only an evaluator tells.
        """
        super().__init__(model_space)
        self._space = model_space.space
        self._problem = Problem.of(self._space, (), [metric], device)
        [target] = self._problem.objectives
        if target.is_evaluated:
            raise ConfigError(
                f"MetricProfiler: must be a cost or a latency (got {metric}). What an evaluator "
                "says is of rating_evaluator."
            )
        self.name = target.name

    def profile(self, sample: Sample) -> float:
        """The metric of one network, in the unit of its name."""
        return float(self.profile_samples([sample])[0])

    def profile_samples(self, samples: Sequence[Sample]) -> Floats:
        """The metric of n networks at once, (n,)."""
        genes = read_samples(self._space, samples)
        return np.asarray(self._problem.values(genes)[self.name], dtype=float)
