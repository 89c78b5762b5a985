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

from smt_nas.cli import console
from smt_nas.evaluators import features
from smt_nas.evaluators.published_agreement import BENCH
from smt_nas.evaluators.regressors import REGRESSORS, fit_regressor
from smt_nas.evaluators.training_set import Known, folds
from smt_nas.evaluators.validation.agreement import in_band_tau, kendall, partial_tau
from smt_nas.evaluators.zero_cost import measure
from smt_nas.nasbench.table import load_bench

Floats = NDArray[np.float64]
Masks = Sequence[NDArray[np.bool_]]

_SEEDS = 3  # of the folds; figures are means over them


def feature_sets(known: Known) -> dict[str, Callable[[], Floats]]:
    """Features (n, F) of the networks of a bench, by name; those that take long only on use."""
    level = [features.NAMES.index(name) for name in features.LEVEL]

    def with_scores() -> Floats:
        scores = [list(measure(arch).values()) for arch in known.archs]
        return np.column_stack([features.compact(known.features), scores])

    def with_places() -> Floats:
        places = [i for i, n in enumerate(features.NAMES) if n.startswith("attention_place")]
        return np.column_stack([features.compact(known.features), known.features[:, places]])

    return {
        "log costs alone": lambda: known.features[:, level],
        "all features": lambda: known.features,
        "compact": lambda: features.compact(known.features),
        "compact + places": with_places,
        "compact + zero-cost": with_scores,
    }


def held_out(model: str, rows: Floats, known: Known, masks: Masks) -> Floats:
    """Predictions of what each mask (n,) holds out, (n,)."""
    found = np.full(len(rows), np.nan)
    for out in masks:
        low, high = rows[~out].min(axis=0), rows[~out].max(axis=0)  # as the predictor clips
        learnt = fit_regressor(model, rows[~out], known.top1[~out], known.off[~out])
        found[out] = learnt.predict(rows[out].clip(low, high))[0]
    return found


def row_of(model: str, rows: Floats, known: Known) -> Iterator[float | None]:
    """R^2, tau, in band, partial, and tau in the largest quarter."""
    controls = np.column_stack([known.macs, known.params])
    figures = list[tuple[float | None, ...]]()
    for seed in range(_SEEDS):
        found = held_out(model, rows, known, folds(known.groups, seed))
        error = float(np.mean((found - known.top1) ** 2) / np.var(known.top1))
        figures.append(
            (
                1 - error,
                kendall(found, known.top1),
                in_band_tau(found, known.top1, known.macs)[0],
                partial_tau(found, known.top1, controls),
            )
        )
    for column in zip(*figures, strict=True):
        there = [v for v in column if v is not None]
        yield float(np.mean(there)) if there else None
    large = known.large
    yield kendall(held_out(model, rows, known, [large])[large], known.top1[large])


def main() -> None:
    """Print a row for each regressor and set of features, and for #params."""
    known = Known.of(load_bench(sys.argv[1] if len(sys.argv) > 1 else BENCH))
    table = Table(show_edge=False, pad_edge=False)
    for heading in ("features", "regressor"):
        table.add_column(heading, no_wrap=True)
    for heading in ("R²", "tau", "in ±10 % MACs", "partial tau", "largest 1/4 tau"):
        table.add_column(heading, justify="right", no_wrap=True)
    made = {name: make() for name, make in feature_sets(known).items()}
    for (name, rows), model in product(made.items(), REGRESSORS):
        cells = ("-" if v is None else f"{v:.3f}" for v in row_of(model, rows, known))
        table.add_row(name, model, *cells)
    size = known.params
    band = in_band_tau(size, known.top1, known.macs)[0]
    large = kendall(size[known.large], known.top1[known.large])
    plain = (kendall(size, known.top1), band, None, large)
    table.add_row("#params", "-", "-", *("-" if v is None else f"{v:.3f}" for v in plain))
    console.show(table)
    console.show_text(f"{len(known.archs)} networks; means over {_SEEDS} draws of the folds.")


if __name__ == "__main__":
    main()
