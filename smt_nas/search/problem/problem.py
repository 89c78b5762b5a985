"""`Problem`: what is searched for. Space, constraints and objectives, over gene arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smt_nas import costs
from smt_nas.devices.device import Device
from smt_nas.devices.resolve import DeviceRef
from smt_nas.errors import ConfigError
from smt_nas.evaluators.topology.design_region import DesignRegion
from smt_nas.metrics import METRICS
from smt_nas.search.problem.forecast import LatencyPrediction, TargetRecord, predict_latency
from smt_nas.search.problem.objectives import (
    REGION_DISTANCE,
    Constraint,
    DefaultTarget,
    Devices,
    FindDevice,
    Floats,
    Interval,
    LatencyTarget,
    TargetMetric,
    choose_target,
    make_constraint,
    make_region_constraint,
    read_budget,
    read_objective,
)
from smt_nas.space import Genes, SearchSpace
from smt_nas.space.baselines import baselines

COST_OBJECTIVES = ("latency_ms", "macs", "params")
"""What is wanted beside the evaluator's figure, where nothing else was said."""
Values = dict[str, NDArray[Any]]
"""Values (n,) by the name of the metric."""


@dataclass(frozen=True)
class Problem:
    """A search space, what must hold, and what is wanted.

    Attributes:
        space: which networks are allowed.
        constraints: budgets, each on what a formula knows or a device is predicted to take.
        objectives: at most one of them, the evaluator's, is neither.
        metrics: all that networks are judged by: those of constraints and objectives.
        target: the search's own device and conditions: of `--device`, else of the budgets where
            they name one device, else this machine's.
        default: what `target` is made from, and who named it.
        devices: by label; empty where a search is only read.
        region: of published designs, that networks must lie in; None where they need not.
        stored_predictions: of a search that is only read, by the text of their target.
    """

    space: SearchSpace
    constraints: tuple[Constraint, ...]
    objectives: tuple[TargetMetric, ...]
    metrics: tuple[TargetMetric, ...]
    target: LatencyTarget
    default: DefaultTarget
    devices: Mapping[str, Device] = field(default_factory=dict, repr=False)
    region: DesignRegion | None = field(default=None, repr=False)
    stored_predictions: Mapping[str, LatencyPrediction] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls,
        space: SearchSpace,
        budgets: Sequence[str],
        objectives: Sequence[str] = (),
        device: str | None = None,
        records: Sequence[TargetRecord] = (),
    ) -> Problem:
        """Read budgets (`"2.4GFLOPs"`, `"5ms@a100:b1:fp16"`) and objective names.

        Args:
            space: which networks are allowed.
            budgets: what must hold.
            objectives: what is wanted; none means COST_OBJECTIVES.
            device: where latencies are of that name no device, e.g. `a100:b8:fp16`; None for the
                device that the budgets of latency name, else this machine's own.
            records: targets of a search that is only read; no device is then looked at.

        Raises:
            ConfigError: a budget, an objective or a device that is not known.
            MeasurementError: this machine has no such device.
        """
        devices = Devices()
        find: FindDevice = _find_among(records) if records else devices
        default = _choose_default(device, () if records else budgets, find)
        wanted = _read_objectives(objectives or COST_OBJECTIVES, default)
        budgeted = [read_budget(text, default, find) for text in budgets]
        metrics = {q.name: q for q in (*wanted, *(q for _, q in budgeted))}
        problem = cls(
            space=space,
            constraints=(),
            objectives=wanted,
            metrics=tuple(metrics.values()),
            target=default.target("latency_ms"),
            default=default,
            devices=devices.loaded,
            stored_predictions={
                str(r.target): r.forecast for r in records if r.forecast is not None
            },
        )
        constraints = tuple(make_constraint(b, q, problem._preset_value) for b, q in budgeted)
        return replace(problem, constraints=constraints)

    def within(self, region: DesignRegion | None) -> Problem:
        """The same, of the networks that lie in a region of designs; of all without one."""
        if region is None:
            return self
        constraint = make_region_constraint(region.limit)
        return replace(self, region=region, constraints=(*self.constraints, constraint))

    @cached_property
    def without_region(self) -> Problem:
        """The same, of networks wherever they lie."""
        if self.region is None:
            return self
        others = (x for x in self.constraints if x.target_metric.name != REGION_DISTANCE)
        return replace(self, region=None, constraints=tuple(others))

    def lie_in_region(self, genes: Genes) -> NDArray[np.bool_]:
        """Which of (n, G) genes lie in the region, (n,); all where there is none."""
        if self.region is None:
            return np.ones(len(genes), dtype=bool)
        own = tuple(x for x in self.constraints if x.target_metric.name == REGION_DISTANCE)
        judged = replace(self, constraints=own)
        distance = self.region.measure_genes(self.space, genes)
        return np.asarray(judged.total_violation({REGION_DISTANCE: distance}) == 0)

    @property
    def evaluated_metric(self) -> TargetMetric | None:
        """The objective that needs an evaluator; None where it takes none."""
        return next((q for q in self.objectives if q.is_evaluated), None)

    @property
    def predicted_metrics(self) -> tuple[TargetMetric, ...]:
        """Those that are predicted for a device."""
        return tuple(q for q in self.metrics if q.is_predicted)

    @property
    def predicted_targets(self) -> tuple[LatencyTarget, ...]:
        """Targets whose predicted latency trials are judged by."""
        return tuple({str(t): t for t in _list_targets(self.predicted_metrics)}.values())

    @cached_property
    def latency_predictions(self) -> Mapping[str, LatencyPrediction]:
        """Of the targets whose latency is predicted, by their text; the first look takes seconds.

        Raises:
            MeasurementError: a device that cannot be predicted under such conditions.
        """
        if not self.devices:
            return self.stored_predictions
        return {
            str(t): predict_latency(self.devices[t.place.label], t, self.space)
            for t in self.predicted_targets
        }

    @property
    def target_records(self) -> tuple[TargetRecord, ...]:
        """What run.yaml keeps of the targets; the search's own first."""
        targets = {str(t): t for t in (self.target, *_list_targets(self.metrics))}
        return tuple(
            TargetRecord(target=t, forecast=self.latency_predictions.get(s))
            for s, t in targets.items()
        )

    @property
    def timed_metrics(self) -> tuple[TargetMetric, ...]:
        """What verification measures on this machine: what is predicted, or the latency."""
        return self.predicted_metrics or (
            TargetMetric(METRICS["latency_ms"], "latency_ms", self.target),
        )

    @property
    def local_targets(self) -> tuple[LatencyTarget, ...]:
        """Targets that are here: those on which the front is timed."""
        targets = {str(t): t for t in _list_targets(self.timed_metrics)}
        return tuple(t for t in targets.values() if t.place.here is not None)

    def costs(self, genes: Genes) -> Values:
        """Every formula metric of (n, G) genes, each (n,)."""
        return costs.estimate(self.space, genes).as_dict()

    def evaluate_formulas(self, genes: Genes) -> Values:
        """What formulas give for (n, G) genes, each (n,)."""
        values = self.costs(genes)
        values |= self.scale_memory(values)
        if self.region is not None:
            values[REGION_DISTANCE] = self.region.measure_genes(self.space, genes)
        return values

    def scale_memory(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Memory at other batches and precisions than one fp32 image, of costs."""
        wanted = [q for q in self.metrics if q.metric.formula and q.target is not None]
        return {q.name: q.of_costs(values["params"], values["peak_memory_mb"]) for q in wanted}

    def predict(self, genes: Genes) -> dict[str, Interval]:
        """Predict `predicted_metrics` of (n, G) genes: value, low and high, each (n,)."""
        return self._predict(genes, self.predicted_metrics)

    def find_host_bound(self, q: TargetMetric, genes: Genes) -> NDArray[np.bool_] | None:
        """Which of (n, G) genes wait for a GPU's host, (n,); None where that is not told apart."""
        assert q.target is not None
        device = self.devices[q.target.place.label]
        return device.predict(self.space, genes, q.target.conditions).host_bound

    def predict_preset(self, name: str) -> dict[str, tuple[float, float, float]]:
        """Predict the same of a preset; what is not predicted of it is left out."""
        predictions = {}
        for q in self.predicted_metrics:
            presets = self.latency_predictions[str(q.target)].presets
            if name not in presets:
                continue
            ms, low, high = presets[name]
            ends = sorted((q.of_ms(low), q.of_ms(high)))
            predictions[q.name] = (q.of_ms(ms), *ends)
        return predictions

    def values(self, genes: Genes) -> Values:
        """All that (n, G) genes are judged by but the evaluator's figure, each (n,)."""
        middles = {name: interval[0] for name, interval in self.predict(genes).items()}
        return self.evaluate_formulas(genes) | middles

    def violations(self, values: Mapping[str, Any]) -> dict[str, Floats]:
        """How far each constraint is violated, as a share of its limit, (n,); met where <= 0."""
        table = {}
        for limit in self.constraints:
            name = limit.target_metric.name
            value = values[name]
            if limit.high is not None:
                table[f"{name} <= {limit.high:g}"] = np.asarray(value / limit.high - 1)
            if limit.low is not None:
                table[f"{name} >= {limit.low:g}"] = np.asarray(1 - value / limit.low)
        return table

    def total_violation(self, values: Values) -> Floats:
        """Sum of what exceeds the limits, (n,); 0 where all constraints are met."""
        n = len(next(iter(values.values())))
        return sum((np.maximum(c, 0) for c in self.violations(values).values()), np.zeros(n))

    def feasible(self, genes: Genes) -> NDArray[np.bool_]:
        """Which of (n, G) genes meet all constraints, (n,)."""
        others = self.without_region
        exact = tuple(x for x in others.constraints if not x.target_metric.is_predicted)
        by_formula = replace(others, constraints=exact)
        holds = by_formula.total_violation(others.evaluate_formulas(genes)) == 0
        holds[holds] = self.lie_in_region(genes[holds])  # costs are the cheapest to tell
        uncertain = tuple(x for x in self.constraints if x.target_metric.is_predicted)
        if uncertain and holds.any():  # formulas are cheap: the predictor sees what they leave
            intervals = self._predict(genes[holds], [x.target_metric for x in uncertain])
            middles = {name: interval[0] for name, interval in intervals.items()}
            holds[holds] = replace(self, constraints=uncertain).total_violation(middles) == 0
        return np.asarray(holds)

    def objective_matrix(self, values: Values) -> Floats:
        """Objectives as (n, M), each to be minimised."""
        return np.column_stack(
            [values[q.name] * (1.0 if q.direction == "min" else -1.0) for q in self.objectives]
        )

    def _predict(self, genes: Genes, wanted: Sequence[TargetMetric]) -> dict[str, Interval]:
        latencies = {}
        for q in wanted:
            assert q.target is not None
            if (key := str(q.target)) not in latencies:
                device = self.devices[q.target.place.label]
                latencies[key] = device.predict(self.space, genes, q.target.conditions)
        return {q.name: q.of_latency(latencies[str(q.target)]) for q in wanted}

    def _preset_value(self, name: str, metric: TargetMetric) -> float:
        if metric.is_predicted:
            predictions = self.predict_preset(name)
            if metric.name not in predictions:
                raise ConfigError(
                    f"budget of {metric.name} relative to {name}: is not predicted there, as the "
                    "measured table does not hold it. Give a number, e.g. 5ms."
                )
            return predictions[metric.name][0]
        values = costs.of(baselines(self.space)[name]).as_dict()
        return float((values | self.scale_memory(values))[metric.name])


def _read_objectives(names: Sequence[str], default: DefaultTarget) -> tuple[TargetMetric, ...]:
    wanted = tuple(read_objective(name, default) for name in names)
    if len({q.name for q in wanted}) < len(wanted):
        raise ConfigError(f"--objective: each one once (got {', '.join(names)}). Drop one.")
    return wanted


def _choose_default(device: str | None, budgets: Sequence[str], find: FindDevice) -> DefaultTarget:
    """Where latencies are of that name no device."""
    if device is None:
        chosen = choose_target(budgets, find)
        if chosen is not None:
            return chosen
    return DefaultTarget.read(device, find)


def _list_targets(metrics: Sequence[TargetMetric]) -> list[LatencyTarget]:
    return [q.target for q in metrics if q.target is not None]


def _find_among(records: Sequence[TargetRecord]) -> FindDevice:
    """Find devices among those of a search that is there."""
    places: dict[str | None, DeviceRef] = {r.target.place.label: r.target.place for r in records}
    places[None] = records[0].target.place
    return places.__getitem__
