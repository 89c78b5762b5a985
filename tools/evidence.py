"""Validate the evaluators on the shipped bench, and write what they rest on beside it.

    python -m tools.evidence

Writes smt_nas/data/nasbench/smt-bench-mini.evidence.json of this checkout.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from smt_nas.cli import console
from smt_nas.evaluators import default_evaluator, make_evaluator, standalone_evaluators
from smt_nas.evaluators.predictors.features import NAMES, ranges
from smt_nas.evaluators.published_agreement import BENCH
from smt_nas.evaluators.validation.noise_ceiling import simulate_best
from smt_nas.evaluators.validation.validate import Validation, compare_scores, validate
from smt_nas.files import write_atomic
from smt_nas.nasbench.table import load_bench
from smt_nas.report.validation import validation_notes, validation_table, word_difference

FOLDER = Path(__file__).resolve().parents[1] / "smt_nas" / "data" / "nasbench"


def make_document(validation: Validation) -> dict[str, object]:
    """What `smt_nas.evaluators.published_agreement` reads."""
    ceiling = validation.noise_ceiling
    rows = {
        row.name: {
            "tau": _round(row.agreement.kendall.value),
            "in_band": _round(row.agreement.in_band.value),
            "beats_params": row.beats_params,
            "held_out": row.held_out,
            "top_recall": _round(row.agreement.top_recall.value),
            "regret": _round(row.agreement.regret.value),
            "picks_better": row.picks_better,
            "leads": row.name in standalone_evaluators() and not validation.is_beaten(row.name),
        }
        for row in validation.rows
    }
    low, high = ranges(validation.training_set.features)
    return {
        "bench": validation.bench.name,
        "networks": len(validation.training_set.archs),
        "ceiling": None if ceiling is None else ceiling.kendall.value,
        "rows": rows,
        "features": {
            name: [round(float(a), 6), round(float(b), 6)]
            for name, a, b in zip(NAMES, low, high, strict=True)
            if np.isfinite(a)
        },
    }


def word_notes(validation: Validation) -> list[str]:
    """The default beside the other evaluators, and what more trainings would allow."""
    data, lines, default = validation.training_set, list[str](), default_evaluator()
    for name in standalone_evaluators():
        if name != default:
            gap = compare_scores(data, validation.row(default), validation.row(name))
            lines.append(
                f"{default} less {name}: tau {word_difference(gap.kendall)}; at equal "
                f"MACs {word_difference(gap.in_band)}."
            )
    best = []
    for seeds in (1, 2, 3):
        noise = np.full(len(data.top1), data.noise / np.sqrt(seeds))
        at = simulate_best(data.top1, noise, data.macs, np.random.default_rng(0))
        best.append("-" if at is None or at.kendall.value is None else f"{at.kendall.value:.2f}")
    lines.append(
        f"At best, were every network trained once, twice, three times: {', '.join(best)}."
    )
    return lines


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def main() -> None:
    """Validate all of them; takes a minute or two."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    validation = validate([*map(make_evaluator, standalone_evaluators())], load_bench(BENCH))
    console.show(validation_table(validation))
    console.show_notes([*validation_notes(validation), *word_notes(validation)])
    path = FOLDER / f"{BENCH}.evidence.json"
    write_atomic(path, json.dumps(make_document(validation), indent=1) + "\n")
    console.say(f"Wrote {path.name}")


if __name__ == "__main__":
    main()
