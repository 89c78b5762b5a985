"""The front: non-dominated trials as results that say where each number comes from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import moocore
import numpy as np

from smt_nas import costs
from smt_nas.arch import Architecture
from smt_nas.errors import StoreError
from smt_nas.evaluators import Evaluation
from smt_nas.files import write_atomic
from smt_nas.metrics import METRICS
from smt_nas.search.csv_text import to_csv_text
from smt_nas.search.problem.problem import Problem, Values
from smt_nas.search.problem.region import Design, place_design, place_designs
from smt_nas.search.storage.study_notes import Verification
from smt_nas.search.storage.trial import Trial
from smt_nas.space import Genes

if TYPE_CHECKING:
    import pandas

OP_COUNTERS = ("torch", "fvcore", "thop")
_CHUNK = 10_000  # networks


@dataclass(frozen=True)
class MeasuredValue:
    """What timing a network gave.

    Attributes:
        value: median, in the unit of the metric.
        spread_ms: interquartile range of the latency.
        samples: how many.
        status: how far to trust it, as in `Measurement`.
        preset: the preset of the nearest MACs that was measured too; None of presets themselves.
        versus_preset: value over that preset's.
    """

    value: float
    spread_ms: float
    samples: int
    status: str
    preset: str | None = None
    versus_preset: float | None = None


@dataclass(frozen=True)
class Result:
    """A network and what is known of it; a member of the front, or a baseline.

    Attributes:
        name: `0`, `1`, ... on the front, best first; `smt_t`, ... for baselines.
        arch: the network.
        values: what the search judged it by, by metric; what is not known is not there.
        provenance: where each value comes from.
        intervals: low and high end of each predicted value.
        evaluation: what the evaluator said; None where it was not asked, or has no figure.
        op_counts: MACs by op counter (`OP_COUNTERS`); empty before verification.
        measured: what was measured of predicted metrics; empty before verification.
        violations: constraints that are violated by measurement, whatever was predicted.
        timing_failure: why it could not be timed where it should have been; None elsewhere.
        failure: why verification failed; None where it did not, or was not made.
        published: figures that papers tell of this very network, by metric.
        design: where it lies among published designs; None of one for small images.
    """

    name: str
    arch: Architecture
    values: dict[str, float]
    provenance: dict[str, str]
    intervals: dict[str, tuple[float, float]]
    evaluation: Evaluation | None = None
    op_counts: dict[str, int | None] = field(default_factory=dict)
    measured: dict[str, MeasuredValue] = field(default_factory=dict)
    violations: tuple[str, ...] = ()
    timing_failure: str | None = None
    failure: str | None = None
    published: dict[str, float] = field(default_factory=dict)
    design: Design | None = None

    def with_verification(self, problem: Problem, verification: Verification | None) -> Result:
        """Add what verifying it gave; timings count for `Problem.timed_metrics`."""
        if verification is None:
            return self
        timings = verification.timings
        measured = {
            q.name: MeasuredValue(q.of_ms(t.latency_ms), t.spread_ms, t.samples, t.status)
            for q in problem.timed_metrics
            if (t := timings.get(str(q.target))) is not None
        }
        values = {name: m.value for name, m in measured.items()}
        judged = tuple(x for x in problem.constraints if x.target_metric.name in measured)
        violations = replace(problem, constraints=judged).violations(values)
        failures = (verification.timing_failures.get(str(q.target)) for q in problem.timed_metrics)
        return replace(
            self,
            op_counts=dict(verification.op_counts),
            measured=measured,
            violations=tuple(name for name, by in violations.items() if by > 0),
            timing_failure=next((reason for reason in failures if reason is not None), None),
            failure=verification.failure,
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
            "published": self.published,
            "design": None if self.design is None else asdict(self.design),
            "measured": {name: asdict(m) for name, m in self.measured.items()},
            "breaks": list(self.violations),
            "witnesses": self.op_counts,
        }


def make_result(
    problem: Problem,
    name: str,
    arch: Architecture,
    evaluation: Evaluation | None,
    predictions: Mapping[str, tuple[float, float, float]],
) -> Result:
    """A network with its costs, its predictions, and what the evaluator said, if it did."""
    values: dict[str, float] = dict(costs.of(arch).as_dict())
    values |= problem.scale_memory(values)
    return _join(problem, name, arch, values, place_design(arch), evaluation, predictions)


def make_results(problem: Problem, names: Sequence[str], trials: Sequence[Trial]) -> list[Result]:
    """The same of trials, to the last bit."""
    if not trials:
        return []
    genes = np.array([t.genes for t in trials])
    table: dict[str, Any] = dict(problem.costs(genes))
    table |= problem.scale_memory(table)
    columns = {name: column.tolist() for name, column in table.items()}
    rows = [{name: column[i] for name, column in columns.items()} for i in range(len(trials))]
    archs, designs = problem.space.decode(genes), place_designs(problem.space, genes)
    return [
        _join(problem, name, arch, values, design, trial.evaluation, trial.predictions)
        for name, arch, values, design, trial in zip(
            names, archs, rows, designs, trials, strict=True
        )
    ]


def _join(
    problem: Problem,
    name: str,
    arch: Architecture,
    values: dict[str, float],
    design: Design | None,
    evaluation: Evaluation | None,
    predictions: Mapping[str, tuple[float, float, float]],
) -> Result:
    """A result of a network's costs and what else is known."""
    provenance: dict[str, str] = dict.fromkeys(values, "exact")
    values |= {name: interval[0] for name, interval in predictions.items()}
    provenance |= dict.fromkeys(predictions, "predicted")
    intervals = {name: (low, high) for name, (_, low, high) in predictions.items()}
    metric = problem.evaluated_metric
    if metric is None or evaluation is None or evaluation.value is None:
        return Result(name, arch, values, provenance, intervals, design=design)
    values[metric.name] = evaluation.value
    provenance[metric.name] = evaluation.provenance
    if evaluation.interval is not None:
        intervals[metric.name] = evaluation.interval
    return Result(name, arch, values, provenance, intervals, evaluation, design=design)


def compare_with_presets(members: Sequence[Result], presets: Sequence[Result]) -> list[Result]:
    """Members with what was measured of them over the preset of equal cost."""
    return [_compare_with_preset(r, presets) for r in members]


def _compare_with_preset(r: Result, presets: Sequence[Result]) -> Result:
    measured = {}
    for name, m in r.measured.items():
        known = [p for p in presets if name in p.measured]
        if known:
            near = min(known, key=lambda p: abs(math.log(p.values["macs"] / r.values["macs"])))
            ratio = m.value / near.measured[name].value
            measured[name] = replace(m, preset=near.name, versus_preset=ratio)
    return replace(r, measured=r.measured | measured)


def select_front(problem: Problem, trials: Sequence[Trial]) -> list[Result]:
    """Non-dominated feasible trials, best first objective first. All of them, none thinned out."""
    good = [t for t in trials if t.evaluation.failure is None]
    if not good:
        return []
    genes = np.array([t.genes for t in good])
    judge = problem.without_region
    values = _evaluate_in_chunks(judge, genes)
    for q in problem.predicted_metrics:  # as stored: a search is read where no device is at hand
        values[q.name] = np.array([t.predictions[q.name][0] for t in good])
    metric = problem.evaluated_metric
    if metric is not None:
        values[metric.name] = np.array([t.evaluation.compared for t in good])
    points = problem.objective_matrix(values)
    feasible = (judge.total_violation(values) == 0) & np.isfinite(points).all(axis=1)
    feasible[feasible] = problem.lie_in_region(genes[feasible])
    points = np.where(feasible[:, None], points, np.inf)
    keep = feasible & moocore.is_nondominated(points)
    chosen = sorted(np.flatnonzero(keep), key=lambda i: (*points[i], good[i].key))
    return make_results(problem, [str(i) for i in range(len(chosen))], [good[i] for i in chosen])


def _evaluate_in_chunks(problem: Problem, genes: Genes) -> Values:
    """What formulas give for (n, G) genes; of a hundred thousand at once it takes gigabytes."""
    chunks = [genes[i : i + _CHUNK] for i in range(0, len(genes), _CHUNK)]
    tables = [problem.evaluate_formulas(chunk) for chunk in chunks]
    return {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}


def write_front(folder: Path, members: Sequence[Result], baselines: Sequence[Result]) -> None:
    """Write front.csv and front/*.yaml. Raises StoreError; what was there before is then kept."""
    configs, names = folder / "front", {m.name for m in members}
    try:
        configs.mkdir(exist_ok=True)
        for member in members:
            member.arch.save(configs / f"{member.name}.yaml")
        for path in configs.glob("*.yaml"):
            if path.stem not in names:
                path.unlink()  # of an earlier, larger front
    except OSError as error:
        raise StoreError(f"{configs}: cannot be written ({error.strerror}).") from error
    write_atomic(folder / "front.csv", to_csv_text(make_frame(members, baselines)))


def make_frame(members: Sequence[Result], baselines: Sequence[Result]) -> pandas.DataFrame:
    """The front and the baselines as a table, one row a network.

    Columns: `name`, `kind` (front or baseline), `key`; of each metric X its value in the unit that
    its name says, `X_from` its provenance, `X_low` and `X_high` its interval; `X_published`, what
    papers tell of a preset; `X_measured`, `X_iqr_ms`, `X_status`, `X_preset` and `X_vs_preset`
    where an X that is predicted was measured too; `evaluator_Y`, what the evaluator said beside its
    value; `region_distance` and `nearest_published`, where its shape lies among published ones;
    `macs_C`, the MACs by op counter C; `breaks`, the constraints that are violated by
    measurement. What is not known is missing.
    """
    import pandas

    rows = [*members, *baselines]
    columns: dict[str, pandas.Series[Any]] = {
        "name": _make_words(r.name for r in rows),
        "kind": _make_words(["front"] * len(members) + ["baseline"] * len(baselines)),
        "key": _make_words(r.arch.key for r in rows),
    }
    for name in _list_metrics(rows):
        columns |= _make_metric_columns(name, rows)
    details = dict.fromkeys(name for r in rows for name in r.details)
    columns |= {f"evaluator_{n}": _make_numbers(r.details.get(n) for r in rows) for n in details}
    for counter in dict.fromkeys([*OP_COUNTERS, *(name for r in rows for name in r.op_counts)]):
        counts = [r.op_counts.get(counter) for r in rows]
        columns[f"macs_{counter}"] = pandas.Series(counts, dtype="Int64")
    if any(r.design for r in rows):
        designs = [r.design for r in rows]
        columns["region_distance"] = _make_numbers(d.distance if d else None for d in designs)
        columns["nearest_published"] = _make_words(
            " ".join(d.nearest) if d else None for d in designs
        )
    columns["breaks"] = _make_words("; ".join(r.violations) for r in rows)
    return pandas.DataFrame(columns)


def _make_metric_columns(name: str, rows: Sequence[Result]) -> dict[str, pandas.Series[Any]]:
    """Those of one metric that hold anything."""
    columns = {}
    if any(name in r.values for r in rows):
        columns[name] = _make_numbers(r.values.get(name) for r in rows)
        columns[f"{name}_from"] = _make_words(r.provenance.get(name) for r in rows)
    if any(name in r.intervals for r in rows):
        intervals = [r.intervals.get(name, (None, None)) for r in rows]
        columns[f"{name}_low"] = _make_numbers(low for low, _ in intervals)
        columns[f"{name}_high"] = _make_numbers(high for _, high in intervals)
    if any(name in r.published for r in rows):
        columns[f"{name}_published"] = _make_numbers(r.published.get(name) for r in rows)
    if any(name in r.measured for r in rows):
        measured = [r.measured.get(name) for r in rows]
        columns[f"{name}_measured"] = _make_numbers(m.value if m else None for m in measured)
        columns[f"{name}_iqr_ms"] = _make_numbers(m.spread_ms if m else None for m in measured)
        columns[f"{name}_status"] = _make_words(m.status if m else None for m in measured)
        columns[f"{name}_preset"] = _make_words(m.preset if m else None for m in measured)
        columns[f"{name}_vs_preset"] = _make_numbers(
            m.versus_preset if m else None for m in measured
        )
    return columns


def _list_metrics(rows: Sequence[Result]) -> list[str]:
    """Names of what is known, in the order of METRICS."""
    order = list(METRICS)
    names = dict.fromkeys(name for r in rows for name in (*r.values, *r.measured))
    return sorted(names, key=lambda name: order.index(name.partition("@")[0]))


def _make_numbers(values: Iterable[float | None]) -> pandas.Series[Any]:
    import pandas

    return pandas.Series(list(values), dtype="float64")


def _make_words(values: Iterable[str | None]) -> pandas.Series[Any]:
    import pandas

    return pandas.Series(list(values), dtype="object")
