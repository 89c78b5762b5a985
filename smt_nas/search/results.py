"""The front: non-dominated trials as results that say where each number comes from."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import moocore
import numpy as np

from smt_nas import costs
from smt_nas.arch import Architecture
from smt_nas.errors import StoreError
from smt_nas.evaluators import Evaluation
from smt_nas.files import write_atomic
from smt_nas.metrics import METRICS
from smt_nas.search.problem import Problem
from smt_nas.search.study import Trial

OP_COUNTERS = ("torch", "fvcore", "thop")


@dataclass(frozen=True)
class MeasuredValue:
    """What timing a network gave.

    Attributes:
        value: median, in the unit of the quantity.
        spread_ms: interquartile range of the latency.
        samples: how many.
        status: how far to trust it, as in `Measurement`.
    """

    value: float
    spread_ms: float
    samples: int
    status: str


@dataclass(frozen=True)
class Result:
    """A network and what is known of it; a member of the front, or a baseline.

    Attributes:
        name: `0`, `1`, ... on the front, best first; `smt_t`, ... for baselines.
        arch: the network.
        values: what the search judged it by, by quantity; what is not known is not there.
        provenance: where each value comes from.
        intervals: low and high end of each predicted value.
        evaluation: what the evaluator said; None where it was not asked, or has no figure.
        witnesses: MACs by counter (`torch`, `fvcore`, `thop`); empty before the proof.
        measured: what was measured of predicted quantities; empty before the proof.
        breaks: limits that do not hold by measurement, whatever was predicted.
        untimed: why it could not be timed where it should have been; None elsewhere.
        reason: why the proof failed; None where it did not, or was not made.
    """

    name: str
    arch: Architecture
    values: dict[str, float]
    provenance: dict[str, str]
    intervals: dict[str, tuple[float, float]]
    evaluation: Evaluation | None = None
    op_counts: dict[str, int] = field(default_factory=dict)
    measured: dict[str, MeasuredValue] = field(default_factory=dict)
    violations: tuple[str, ...] = ()
    timing_failure: str | None = None
    reason: str | None = None

    def with_proof(self, problem: Problem, proof: dict[str, Any] | None) -> Result:
        """Add what `prove` found; see there."""
        if proof is None:
            return self
        timings = [(q, proof["timings"].get(str(q.target))) for q in problem.timed_metrics]
        measured = {
            q.name: MeasuredValue(
                q.of_ms(found["latency_ms"]),
                found["spread_ms"],
                found["samples"],
                found.get("status", "unknown"),
            )
            for q, found in timings
            if found is not None and "failed" not in found
        }
        values = {name: m.value for name, m in measured.items()}
        limits = [x for x in problem.constraints if x.target_metric.name in measured]
        excess = replace(problem, constraints=tuple(limits)).violations(values)
        return replace(
            self,
            op_counts=proof["witnesses"],
            measured=measured,
            violations=tuple(name for name, by in excess.items() if by > 0),
            timing_failure=next((x["failed"] for _, x in timings if x and "failed" in x), None),
            reason=proof["reason"],
        )

    @property
    def details(self) -> dict[str, float]:
        """What the evaluator said beside its figure, by its name in files."""
        return {} if self.evaluation is None else self.evaluation.to_columns()

    def as_dict(self) -> dict[str, Any]:
        """The entry of the JSON output (schema 2)."""
        return {
            "name": self.name,
            "key": self.arch.key,
            "architecture": self.arch.model_dump(mode="json"),
            "values": self.values,
            "provenance": self.provenance,
            "intervals": {n: {"low": x[0], "high": x[1]} for n, x in self.intervals.items()},
            "details": self.details,
            "measured": {name: asdict(m) for name, m in self.measured.items()},
            "breaks": list(self.violations),
            "witnesses": self.op_counts,
        }


def make_result(
    problem: Problem,
    name: str,
    arch: Architecture,
    rating: Evaluation | None,
    predictions: Mapping[str, tuple[float, float, float]],
) -> Result:
    """A network with its costs, its predictions, and what the evaluator said, if it did."""
    values: dict[str, float] = dict(costs.of(arch).as_dict())
    values |= problem.scale_memory(values)
    provenance: dict[str, str] = dict.fromkeys(values, "exact")
    values |= {name: found[0] for name, found in predictions.items()}
    provenance |= dict.fromkeys(predictions, "predicted")
    intervals = {name: (low, high) for name, (_, low, high) in predictions.items()}
    evaluation = None
    if rating is not None and rating.value is not None and problem.evaluated_metric is not None:
        rated = problem.evaluated_metric.name
        values[rated], provenance[rated] = rating.value, rating.provenance
        evaluation = rating
        if rating.interval is not None:
            intervals[rated] = rating.interval
    return Result(name, arch, values, provenance, intervals, evaluation)


def select_front(problem: Problem, trials: Sequence[Trial]) -> list[Result]:
    """Non-dominated feasible trials, best first objective first. All of them, none thinned out."""
    good = [t for t in trials if t.evaluation.failure is None]
    if not good:
        return []
    genes = np.array([t.genes for t in good])
    values = problem.evaluate_formulas(genes)
    for q in problem.predicted_metrics:  # as stored: a search is read where no device is at hand
        values[q.name] = np.array([t.predictions[q.name][0] for t in good])
    rated = problem.evaluated_metric
    if rated is not None:
        values[rated.name] = np.array([t.evaluation.value for t in good])
    points = problem.objective_matrix(values)
    feasible = problem.total_violation(values) == 0
    points = np.where(feasible[:, None], points, np.inf)
    keep = feasible & moocore.is_nondominated(points)
    chosen = sorted(np.flatnonzero(keep), key=lambda i: (*points[i], good[i].key))
    members = []
    for place, i in enumerate(chosen):
        arch = problem.space.decode(genes[i : i + 1])[0]
        rating = good[i].evaluation
        members.append(make_result(problem, str(place), arch, rating, good[i].predictions))
    return members


def write_front(folder: Path, members: Sequence[Result], baselines: Sequence[Result]) -> None:
    """Write front.csv and front/*.yaml. Raises StoreError; what was there before is then kept."""
    configs = folder / "front"
    try:
        configs.mkdir(exist_ok=True)
        for member in members:
            member.arch.save(configs / f"{member.name}.yaml")
        for path in configs.glob("*.yaml"):
            if path.stem not in {m.name for m in members}:
                path.unlink()  # of an earlier, larger front
    except OSError as error:
        raise StoreError(f"{configs}: cannot be written ({error.strerror}).") from error
    write_atomic(folder / "front.csv", _csv(members, baselines))


def _csv(members: Sequence[Result], baselines: Sequence[Result]) -> str:
    """One row a network; see `_columns`."""
    rows = [*members, *baselines]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = _columns(rows)
    writer.writerow(["name", "kind", "key", *columns, "breaks"])
    for r in rows:
        kind = "baseline" if r in baselines else "front"
        cells = [column(r) for column in columns.values()]
        writer.writerow([r.name, kind, r.arch.key, *cells, "; ".join(r.violations)])
    return text.getvalue()


def _columns(rows: Sequence[Result]) -> dict[str, Callable[[Result], str]]:
    """Cells by column. `X_from` is the provenance of X, `X_low` and `X_high` its interval.

    `X_measured`, with its interquartile range and status, stands beside an X that is predicted.
    """
    columns: dict[str, Callable[[Result], str]] = {}
    for name in _quantities(rows):
        if any(name in r.values for r in rows):
            columns[name] = partial(_value, name)
            columns[f"{name}_from"] = partial(_source, name)
        if any(name in r.intervals for r in rows):
            columns[f"{name}_low"] = partial(_end, name, 0)
            columns[f"{name}_high"] = partial(_end, name, 1)
        if any(name in r.measured for r in rows):
            columns[f"{name}_measured"] = partial(_timing, name, "value")
            columns[f"{name}_iqr_ms"] = partial(_timing, name, "spread_ms")
            columns[f"{name}_status"] = partial(_timing, name, "status")
    details = dict.fromkeys(name for r in rows for name in r.details)
    columns |= {f"evaluator_{name}": partial(_detail, name) for name in details}
    return columns | {f"macs_{counter}": partial(_count, counter) for counter in OP_COUNTERS}


def _quantities(rows: Sequence[Result]) -> list[str]:
    """Names of what is known, in the order of METRICS."""
    order = list(METRICS)
    names = dict.fromkeys(name for r in rows for name in (*r.values, *r.measured))
    return sorted(names, key=lambda name: order.index(name.partition("@")[0]))


def _value(name: str, r: Result) -> str:
    return _number(r.values.get(name))


def _source(name: str, r: Result) -> str:
    return r.provenance.get(name, "")


def _detail(name: str, r: Result) -> str:
    return _number(r.details.get(name))


def _end(name: str, i: int, r: Result) -> str:
    return _number(r.intervals[name][i]) if name in r.intervals else ""


def _timing(name: str, part: str, r: Result) -> str:
    value = getattr(r.measured.get(name), part, None)
    return value if isinstance(value, str) else _number(value)


def _count(counter: str, r: Result) -> str:
    return str(r.op_counts.get(counter, ""))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.10g}"


_NEAR = 0.1


@dataclass(frozen=True)
class PredictionError:
    """Predictions against measurements of n networks.

    Attributes:
        n: networks.
        mape: mean of |predicted / measured - 1|.
        within_10: share within 10 % of what was measured.
        covered: share whose measurement lies in the interval of the prediction.
        spearman, kendall: rank correlations; None where they are not defined (n < 3, or all alike).
    """

    n: int
    mape: float
    within_10: float
    covered: float
    spearman: float | None
    kendall: float | None


def measure_prediction_errors(front: Sequence[Result]) -> dict[str, PredictionError]:
    """By quantity, where anything was both predicted and measured."""
    names = dict.fromkeys(name for r in front for name in r.measured if name in r.intervals)
    return {name: _measure_error(name, [r for r in front if name in r.measured]) for name in names}


def _measure_error(name: str, rows: Sequence[Result]) -> PredictionError:
    predicted = np.array([r.values[name] for r in rows])
    truth = np.array([r.measured[name].value for r in rows])
    low, high = np.array([r.intervals[name] for r in rows]).T
    off = np.abs(predicted / truth - 1)
    spearman, kendall = _correlate_ranks(predicted.tolist(), truth.tolist())
    return PredictionError(
        n=len(rows),
        mape=float(off.mean()),
        within_10=float((off <= _NEAR).mean()),
        covered=float(((low <= truth) & (truth <= high)).mean()),
        spearman=spearman,
        kendall=kendall,
    )


def _correlate_ranks(
    predicted: list[float], truth: list[float]
) -> tuple[float | None, float | None]:
    if len(truth) < 3 or len(set(predicted)) < 2 or len(set(truth)) < 2:
        return None, None
    from scipy.stats import kendalltau, spearmanr

    found = (spearmanr(predicted, truth).statistic, kendalltau(predicted, truth).statistic)
    spearman, kendall = (float(x) if math.isfinite(x) else None for x in found)
    return spearman, kendall
