"""`Problem`: what is searched for. Space, limits and objectives, judged over gene arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smt_nas import costs
from smt_nas.devices.device import Device
from smt_nas.errors import ConfigError
from smt_nas.metrics import METRICS
from smt_nas.search.forecast import Forecast, Record, forecast
from smt_nas.search.objectives import (
    Default,
    Devices,
    Find,
    Floats,
    Interval,
    Place,
    Quantity,
    Requirement,
    Target,
    budgeted,
    objective,
    required,
)
from smt_nas.space import Genes, SearchSpace
from smt_nas.space.baselines import baselines

COST_OBJECTIVES = ("latency_ms", "macs", "params")
"""What is wanted beside the evaluator's figure, where nothing else was said."""
Values = dict[str, NDArray[Any]]
"""Values (n,) by the name of the quantity."""


@dataclass(frozen=True)
class Problem:
    """A search space, what must hold, and what is wanted.

    Attributes:
        space: which networks are allowed.
        limits: budgets, each on what a formula knows or a device is predicted to take.
        objectives: at most one of them, the evaluator's, is neither.
        quantities: all that networks are judged by: those of limits and objectives.
        target: the search's own device (`--device`) and conditions.
        devices: by label; empty where a search is only read.
        recorded: forecasts of a search that is only read, by the text of their target.
    """

    space: SearchSpace
    limits: tuple[Requirement, ...]
    objectives: tuple[Quantity, ...]
    quantities: tuple[Quantity, ...]
    target: Target
    devices: Mapping[str, Device] = field(default_factory=dict, repr=False)
    recorded: Mapping[str, Forecast] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls,
        space: SearchSpace,
        budgets: Sequence[str],
        objectives: Sequence[str] = (),
        device: str | None = None,
        records: Sequence[Record] = (),
    ) -> Problem:
        """Read budgets (`"2.4GFLOPs"`, `"5ms@a100:b1:fp16"`) and objective names.

        Args:
            space: which networks are allowed.
            budgets: what must hold.
            objectives: what is wanted; none means COST_OBJECTIVES.
            device: where latencies are of that name no device, e.g. `a100:b8:fp16`; None for this
                machine's own.
            records: targets of a search that is only read; no device is then looked at.

        Raises:
            ConfigError: a budget, an objective or a device that is not known.
            MeasurementError: this machine has no such device.
        """
        devices = Devices()
        find: Find = _recorded(records) if records else devices
        default = Default.read(device, find)
        wanted = _wanted(objectives or COST_OBJECTIVES, default)
        limited = [budgeted(text, default, find) for text in budgets]
        quantities = tuple({q.name: q for q in (*wanted, *(q for _, q in limited))}.values())
        problem = cls(
            space=space,
            limits=(),
            objectives=wanted,
            quantities=quantities,
            target=default.target("latency_ms"),
            devices=devices.loaded,
            recorded={str(r.target): r.forecast for r in records if r.forecast is not None},
        )
        limits = tuple(required(b, q, problem._preset_value) for b, q in limited)
        return replace(problem, limits=limits)

    @property
    def rated(self) -> Quantity | None:
        """The objective that needs an evaluator; None where it takes none."""
        return next((q for q in self.objectives if q.rated), None)

    @property
    def predicted(self) -> tuple[Quantity, ...]:
        """The quantities that are predicted for a device."""
        return tuple(q for q in self.quantities if q.predicted)

    @cached_property
    def forecasts(self) -> Mapping[str, Forecast]:
        """Of the targets whose latency is predicted, by their text; the first look takes seconds.

        Raises:
            MeasurementError: a device that cannot be predicted under such conditions.
        """
        if not self.devices:
            return self.recorded
        targets = {str(t): t for t in _targets(self.predicted)}
        return {
            text: forecast(self.devices[t.place.label], t, self.space)
            for text, t in targets.items()
        }

    @property
    def records(self) -> tuple[Record, ...]:
        """What run.yaml keeps of the targets; the search's own first."""
        targets = {str(t): t for t in (self.target, *_targets(self.quantities))}
        return tuple(Record(target=t, forecast=self.forecasts.get(s)) for s, t in targets.items())

    @property
    def timed(self) -> tuple[Quantity, ...]:
        """What a proof measures where its target is here: what is predicted, or the latency."""
        return self.predicted or (Quantity(METRICS["latency_ms"], "latency_ms", self.target),)

    @property
    def present(self) -> tuple[Target, ...]:
        """Targets that are here: those on which the front is timed."""
        targets = {str(t): t for t in _targets(self.timed)}
        return tuple(t for t in targets.values() if t.place.here is not None)

    def costs(self, genes: Genes) -> Values:
        """Every formula metric of (n, G) genes, each (n,)."""
        return costs.estimate(self.space, genes).as_dict()

    def by_formula(self, genes: Genes) -> Values:
        """What formulas know of (n, G) genes, each (n,)."""
        values = self.costs(genes)
        return values | self.scaled(values)

    def scaled(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Memory at other batches and precisions than one fp32 image, of costs."""
        wanted = [q for q in self.quantities if q.metric.formula and q.target is not None]
        return {q.name: q.of_costs(values["params"], values["peak_memory_mb"]) for q in wanted}

    def predictions(self, genes: Genes) -> dict[str, Interval]:
        """What is predicted of (n, G) genes: value, low and high, each (n,)."""
        return self._predict(genes, self.predicted)

    def preset_predictions(self, name: str) -> dict[str, tuple[float, float, float]]:
        """The same of a preset."""
        found = {}
        for q in self.predicted:
            ms, low, high = self.forecasts[str(q.target)].presets[name]
            ends = sorted((q.of_ms(low), q.of_ms(high)))
            found[q.name] = (q.of_ms(ms), *ends)
        return found

    def values(self, genes: Genes) -> Values:
        """All that (n, G) genes are judged by but the evaluator's figure, each (n,)."""
        middles = {name: found[0] for name, found in self.predictions(genes).items()}
        return self.by_formula(genes) | middles

    def constraints(self, values: Mapping[str, Any]) -> dict[str, Floats]:
        """How far each limit is exceeded, as a share of it, (n,); met where <= 0."""
        table = {}
        for limit in self.limits:
            value, name = values[limit.quantity.name], limit.quantity.name
            if limit.high is not None:
                table[f"{name} <= {limit.high:g}"] = np.asarray(value / limit.high - 1)
            if limit.low is not None:
                table[f"{name} >= {limit.low:g}"] = np.asarray(1 - value / limit.low)
        return table

    def excess(self, values: Values) -> Floats:
        """Sum of what exceeds the limits, (n,); 0 where all hold."""
        n = len(next(iter(values.values())))
        return sum((np.maximum(c, 0) for c in self.constraints(values).values()), np.zeros(n))

    def feasible(self, genes: Genes) -> NDArray[np.bool_]:
        """Which of (n, G) genes hold all limits, (n,)."""
        exact = tuple(x for x in self.limits if not x.quantity.predicted)
        holds = replace(self, limits=exact).excess(self.by_formula(genes)) == 0
        uncertain = tuple(x for x in self.limits if x.quantity.predicted)
        if uncertain and holds.any():  # formulas are cheap: the predictor sees what they leave
            found = self._predict(genes[holds], [x.quantity for x in uncertain])
            middles = {name: interval[0] for name, interval in found.items()}
            holds[holds] = replace(self, limits=uncertain).excess(middles) == 0
        return np.asarray(holds)

    def minimised(self, values: Values) -> Floats:
        """Objectives as (n, M), each to be minimised."""
        return np.column_stack(
            [values[q.name] * (1.0 if q.direction == "min" else -1.0) for q in self.objectives]
        )

    def _predict(self, genes: Genes, wanted: Sequence[Quantity]) -> dict[str, Interval]:
        latencies = {}
        for q in wanted:
            assert q.target is not None
            if (key := str(q.target)) not in latencies:
                device = self.devices[q.target.place.label]
                latencies[key] = device.predict(self.space, genes, q.target.conditions)
        return {q.name: q.of_latency(latencies[str(q.target)]) for q in wanted}

    def _preset_value(self, name: str, quantity: Quantity) -> float:
        if quantity.predicted:
            return self.preset_predictions(name)[quantity.name][0]
        values = costs.of(baselines(self.space)[name]).as_dict()
        return float((values | self.scaled(values))[quantity.name])


def _wanted(names: Sequence[str], default: Default) -> tuple[Quantity, ...]:
    wanted = tuple(objective(name, default) for name in names)
    if len({q.name for q in wanted}) < len(wanted):
        raise ConfigError(f"--objective: each one once (got {', '.join(names)}). Drop one.")
    return wanted


def _targets(quantities: Sequence[Quantity]) -> list[Target]:
    return [q.target for q in quantities if q.target is not None]


def _recorded(records: Sequence[Record]) -> Find:
    """Find devices among those of a search that is there."""
    places: dict[str | None, Place] = {r.target.place.label: r.target.place for r in records}
    places[None] = records[0].target.place
    return places.__getitem__
