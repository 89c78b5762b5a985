"""Which regressor and which features the predictor should use, by cross-validation on the bench.

python -m benchmarks.predictor [BENCH]

Ten folds, ablations of one base in one fold; the largest quarter after learning from the rest.
What is chosen here is judged by `smt-nas validate` on networks of the same folds, so its figures
there flatter it by a little: by less than rows here differ.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from benchmarks.regressors import REGRESSORS, fit_regressor
from smt_nas.cli import console
from smt_nas.evaluators.predictors import features
from smt_nas.evaluators.predictors.training_set import TrainingSet, split_folds
from smt_nas.evaluators.published_agreement import BENCH
from smt_nas.evaluators.validation.agreement import Agreement, measure_agreement
from smt_nas.evaluators.zero_cost import measure
from smt_nas.nasbench.table import load_bench

Floats = NDArray[np.float64]
Masks = Sequence[NDArray[np.bool_]]

_SEEDS = 3  # of the folds; figures are means over them


def feature_sets(data: TrainingSet) -> dict[str, Callable[[], Floats]]:
    """Features (n, F) of the networks of a bench, by name; those that take long only on use."""
    level = [features.NAMES.index(name) for name in features.LEVEL]

    def with_scores() -> Floats:
        scores = [list(measure(arch).values()) for arch in data.archs]
        return np.column_stack([features.compact(data.features), scores])

    def with_places() -> Floats:
        places = [i for i, n in enumerate(features.NAMES) if n.startswith("attention_place")]
        return np.column_stack([features.compact(data.features), data.features[:, places]])

    return {
        "log costs alone": lambda: data.features[:, level],
        "all features": lambda: data.features,
        "compact": lambda: features.compact(data.features),
        "compact + places": with_places,
        "compact + zero-cost": with_scores,
    }


def predict_held_out(model: str, rows: Floats, data: TrainingSet, masks: Masks) -> Floats:
    """Predictions of what each mask (n,) holds out, (n,); NaN elsewhere."""
    predictions = np.full(len(rows), np.nan)
    for out in masks:
        low, high = rows[~out].min(axis=0), rows[~out].max(axis=0)  # as the predictor clips
        fitted = fit_regressor(model, rows[~out], data.top1[~out], data.label_std[~out])
        predictions[out] = fitted.predict(rows[out].clip(low, high))[0]
    return predictions


def compare(figures: Floats, data: TrainingSet) -> Agreement:
    """Figures (n,), NaN where there are none, with trained accuracy, without intervals."""
    rng = np.random.default_rng(0)
    return measure_agreement(figures, data.top1, data.macs, data.params, rng, resamples=0)


def row_of(model: str, rows: Floats, data: TrainingSet) -> Iterator[float | None]:
    """R^2, tau, in band, partial, and tau in the largest quarter."""
    figures = list[tuple[float | None, ...]]()
    for seed in range(_SEEDS):
        predictions = predict_held_out(model, rows, data, split_folds(data.groups, seed))
        error = float(np.mean((predictions - data.top1) ** 2) / np.var(data.top1))
        a = compare(predictions, data)
        figures.append((1 - error, a.kendall.value, a.in_band.value, a.partial.value))
    for column in zip(*figures, strict=True):
        there = [v for v in column if v is not None]
        yield float(np.mean(there)) if there else None
    yield compare(predict_held_out(model, rows, data, [data.large]), data).kendall.value


def main() -> None:
    """Print a row for each regressor and set of features, and for #params."""
    data = TrainingSet.of(load_bench(sys.argv[1] if len(sys.argv) > 1 else BENCH))
    table = Table(show_edge=False, pad_edge=False)
    for heading in ("features", "regressor"):
        table.add_column(heading, no_wrap=True)
    for heading in ("R²", "tau", "in ±10 % MACs", "partial tau", "largest 1/4 tau"):
        table.add_column(heading, justify="right", no_wrap=True)
    tables = {name: make() for name, make in feature_sets(data).items()}
    for (name, rows), model in product(tables.items(), REGRESSORS):
        cells = ("-" if v is None else f"{v:.3f}" for v in row_of(model, rows, data))
        table.add_row(name, model, *cells)
    size = compare(data.params, data)
    large = compare(np.where(data.large, data.params, np.nan), data)
    plain = (size.kendall.value, size.in_band.value, None, large.kendall.value)
    table.add_row("#params", "-", "-", *("-" if v is None else f"{v:.3f}" for v in plain))
    console.show(table)
    console.show_text(f"{len(data.archs)} networks; means over {_SEEDS} draws of the folds.")


if __name__ == "__main__":
    main()
