"""`Problem`: what is searched for. Space, limits and objectives, judged over gene arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smt_nas import costs
from smt_nas.arch import PRESETS, Architecture, preset
from smt_nas.errors import ConfigError
from smt_nas.metrics import METRICS, Metric, metric
from smt_nas.space import Genes, SearchSpace
from smt_nas.units import Limit, parse_budget, resolve

Floats = NDArray[np.float64]
DEFAULT_OBJECTIVES = ("score", "macs", "params")


@dataclass(frozen=True)
class Problem:
    """A search space, what must hold, and what is wanted.

    Attributes:
        space: which networks are allowed.
        limits: budgets, each on a cost known by formula.
        objectives: at most one of them, the evaluator's, is not known by formula.
    """

    space: SearchSpace
    limits: tuple[Limit, ...]
    objectives: tuple[Metric, ...]

    @classmethod
    def of(
        cls, space: SearchSpace, budgets: Sequence[str], objectives: Sequence[str] = ()
    ) -> Problem:
        """Read budgets (`"2.4GFLOPs"`) and objective names.

        Raises:
            ConfigError: a budget or an objective that is not known or cannot be judged yet.
        """
        limits = tuple(_limit(space, text) for text in budgets)
        names = list(objectives) or list(DEFAULT_OBJECTIVES)
        if len(set(names)) < len(names):
            raise ConfigError(f"--objective: each one once (got {', '.join(names)}). Drop one.")
        metrics = tuple(metric(name) for name in names)
        for m in metrics:
            if m.provenance == "measured":
                raise ConfigError(_needs_predictor(f"--objective {m.name}"))
        return cls(space, limits, metrics)

    @property
    def rated(self) -> Metric | None:
        """The objective that needs an evaluator; None where formulas suffice."""
        return next((m for m in self.objectives if not m.formula), None)

    def costs(self, genes: Genes) -> dict[str, NDArray[Any]]:
        """Every formula metric of (n, G) genes, each (n,)."""
        return costs.estimate(self.space, genes).as_dict()

    def constraints(self, values: dict[str, NDArray[Any]]) -> dict[str, Floats]:
        """How far each limit is exceeded, as a share of it, (n,); met where <= 0."""
        table = {}
        for limit in self.limits:
            value = values[limit.metric]
            if limit.high is not None:
                table[f"{limit.metric} <= {limit.high:g}"] = np.asarray(value / limit.high - 1)
            if limit.low is not None:
                table[f"{limit.metric} >= {limit.low:g}"] = np.asarray(1 - value / limit.low)
        return table

    def excess(self, values: dict[str, NDArray[Any]]) -> Floats:
        """Sum of what exceeds the limits, (n,); 0 where all hold."""
        n = len(next(iter(values.values())))
        return sum((np.maximum(c, 0) for c in self.constraints(values).values()), np.zeros(n))

    def feasible(self, genes: Genes) -> NDArray[np.bool_]:
        """Which of (n, G) genes hold all limits, (n,)."""
        return np.asarray(self.excess(self.costs(genes)) == 0)

    def minimised(self, values: dict[str, NDArray[Any]]) -> Floats:
        """Objectives as (n, M), each to be minimised."""
        return np.column_stack(
            [values[m.name] * (1.0 if m.direction == "min" else -1.0) for m in self.objectives]
        )


def baselines(space: SearchSpace) -> dict[str, Architecture]:
    """The presets at the space's image size, channels and classes, by name."""
    config = space.config
    shared = {n: getattr(config, n) for n in ("image_size", "num_classes", "in_channels")}
    return {name: arch.model_copy(update=shared) for name, arch in PRESETS.items()}


def _limit(space: SearchSpace, text: str) -> Limit:
    budget = parse_budget(text)
    if budget.needs_prediction:
        raise ConfigError(_needs_predictor(f"--budget {text}"))

    def preset_value(name: str, metric_name: str) -> float:
        preset(name)
        return float(costs.of(baselines(space)[name]).as_dict()[metric_name])

    limit = resolve(budget, preset_value)
    assert METRICS[limit.metric].formula
    return limit


def _needs_predictor(what: str) -> str:
    return (
        f"{what}: needs the latency predictor, which this version does not have. Use a budget on "
        "MACs, params, activations or memory; the front is timed on this machine."
    )
