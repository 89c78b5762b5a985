"""How Optuna stores a trial: genes are named parameters, budgets are constraints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from smt_nas.arch import Architecture
from smt_nas.costs import COSTS
from smt_nas.evaluators import Evaluation
from smt_nas.search.problem.problem import Problem
from smt_nas.search.storage.trial import OpenTrial, Trial, predict_networks
from smt_nas.search.storage.trial_table import EVALUATION, GENES, KEY, PREDICTIONS, StoredTrial
from smt_nas.space import Gene, Genes, SearchSpace

_CONSTRAINTS = "constraints"
"""Optuna 5 keeps a value a constraint; optuna-dashboard 0.21 reads only the list of before, under
this name (`_serializer.py` there), and shows a trial without it as feasible."""
WORKER = "worker"  # who took it, and how many did


def describe_trial(
    problem: Problem, genes: Genes, evaluation: Evaluation | None = None
) -> FrozenTrial:
    """A trial as Optuna stores it; without an evaluation it waits for one. `genes` is (G,)."""
    return describe_trials(problem, genes[None], None if evaluation is None else [evaluation])[0]


def describe_trials(
    problem: Problem, genes: Genes, evaluations: Sequence[Evaluation] | None = None
) -> list[FrozenTrial]:
    """Trials of (n, G) genes as Optuna stores them; without evaluations they wait for them."""
    every: Sequence[Evaluation | None] = evaluations or [None] * len(genes)
    values = {k: v.tolist() for k, v in problem.evaluate_formulas(genes).items()}
    predictions = predict_networks(problem, genes)
    distributions = {g.name: _make_distribution(g) for g in problem.space.genes}
    return [
        _describe(problem, row, arch, evaluation, figures, predicted, distributions)
        for row, arch, evaluation, figures, predicted in zip(
            genes,
            problem.space.decode(genes),
            every,
            _list_rows(values, len(genes)),
            predictions,
            strict=True,
        )
    ]


def _list_rows(columns: Mapping[str, Sequence[Any]], n: int) -> list[dict[str, Any]]:
    return [{name: column[i] for name, column in columns.items()} for i in range(n)]


def _describe(
    problem: Problem,
    genes: Genes,
    arch: Architecture,
    evaluation: Evaluation | None,
    figures: Mapping[str, Any],
    predictions: Mapping[str, tuple[float, float, float]],
    distributions: Mapping[str, CategoricalDistribution],
) -> FrozenTrial:
    values = {**figures, **{name: interval[0] for name, interval in predictions.items()}}
    violations = {name: float(by) for name, by in problem.violations(values).items()}
    costs = {name: values[name] for name in COSTS}
    metric, objectives = problem.evaluated_metric, None
    if evaluation is not None and evaluation.failure is None:
        values |= {} if metric is None else {metric.name: evaluation.compared}
        objectives = [values[q.name] for q in problem.objectives]
    evaluated = {} if evaluation is None else {EVALUATION: evaluation.to_record()}
    free = [(g, i) for g, i in zip(problem.space.genes, genes, strict=True) if len(g.options) > 1]
    attributes = {
        KEY: arch.key,
        GENES: genes.tolist(),
        "architecture": arch.model_dump(mode="json"),
        "costs": costs,
        PREDICTIONS: dict(predictions),
        **evaluated,
    }
    state = TrialState.WAITING if evaluation is None else choose_state(evaluation)
    begun = None if evaluation is None else datetime.now()
    trial = FrozenTrial(  # `create_trial` copies each distribution, which takes milliseconds
        number=-1,
        trial_id=-1,
        state=state,
        value=None,
        values=objectives,
        datetime_start=begun,
        datetime_complete=begun,
        params={g.name: _make_label(g, int(i)) for g, i in free},
        distributions={g.name: distributions[g.name] for g, _ in free},
        user_attrs=attributes,
        system_attrs={_CONSTRAINTS: list(violations.values())},
        intermediate_values={},
    )
    for name, by in violations.items():
        trial.set_constraint(name, by)
    return trial


def read_trial(space: SearchSpace, stored: StoredTrial) -> Trial:
    """A finished trial, as the table read it."""
    attributes = stored.attributes
    row = attributes.get(GENES)
    if row is None:
        row = [int(stored.parameters.get(g.name, 0)) for g in space.genes]
    predictions = {k: (v[0], v[1], v[2]) for k, v in attributes.get(PREDICTIONS, {}).items()}
    return Trial(
        stored.number,
        np.array(row, dtype=np.int64),
        attributes[KEY],
        Evaluation.from_record(attributes[EVALUATION]),
        predictions,
    )


def read_open_trial(space: SearchSpace, frozen: FrozenTrial) -> OpenTrial:
    """A trial that is not finished, as Optuna read it."""
    worker, attempt = read_claim(frozen)
    record = frozen.user_attrs.get(EVALUATION)
    return OpenTrial(
        id=frozen._trial_id,
        number=frozen.number,
        genes=_read_genes(space, frozen),
        key=frozen.user_attrs["key"],
        is_running=frozen.state == TrialState.RUNNING,
        worker=worker,
        attempt=attempt,
        evaluation=None if record is None else Evaluation.from_record(record),
    )


def _read_genes(space: SearchSpace, frozen: FrozenTrial) -> Genes:
    row = [
        [_make_label(g, i) for i in range(len(g.options))].index(frozen.params[g.name])
        if g.name in frozen.params
        else 0
        for g in space.genes
    ]
    return np.array(row, dtype=np.int64)


def read_claim(frozen: FrozenTrial) -> tuple[str | None, int]:
    """Who took a trial last, and how many did."""
    worker, attempt = frozen.user_attrs.get(WORKER, (None, 0))
    return worker, attempt


def choose_state(evaluation: Evaluation) -> TrialState:
    """The state that a trial ends in."""
    if evaluation.failure is None:
        return TrialState.COMPLETE
    return TrialState.PRUNED if evaluation.stopped else TrialState.FAIL


def _make_distribution(gene: Gene) -> CategoricalDistribution:
    return CategoricalDistribution([_make_label(gene, i) for i in range(len(gene.options))])


def _make_label(gene: Gene, index: int) -> Any:
    """An option as Optuna stores it: numbers and words as they are, kernel sets as `3,5,7,9`."""
    option = gene.options[index]
    return ",".join(map(str, option)) if isinstance(option, tuple) else option
