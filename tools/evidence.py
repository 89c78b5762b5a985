"""Validates the evaluators on the shipped bench, and writes what they rest on beside it.

python -m tools.evidence
"""

from __future__ import annotations

import json

import numpy as np

from smt_nas.cli import console
from smt_nas.evaluators import default_evaluator, make_evaluator, standalone_evaluators
from smt_nas.evaluators.features import NAMES, ranges
from smt_nas.evaluators.joint import JointEvaluator
from smt_nas.evaluators.published_agreement import BENCH
from smt_nas.evaluators.validation.noise_ceiling import at_best
from smt_nas.evaluators.validation.validate import Validation, above, validate
from smt_nas.files import folders, write_atomic
from smt_nas.nasbench.table import load_bench
from smt_nas.report.validation import difference_words, validation_notes, validation_table


def document(found: Validation) -> dict[str, object]:
    """What `smt_nas.evaluators.published_agreement` reads."""
    rows = {
        row.name: {
            "tau": _rounded(row.agreement.kendall.value),
            "in_band": _rounded(row.agreement.in_band.value),
            "beats_params": row.beats_params,
            "held_out": row.learnt,
            "leads": row.name in standalone_evaluators() and not found.beaten(row.name),
        }
        for row in found.rows
    }
    low, high = ranges(found.known.features)
    return {
        "bench": found.bench.name,
        "networks": len(found.known.archs),
        "ceiling": None if found.ceiling is None else found.ceiling.kendall.value,
        "rows": rows,
        "features": {
            name: [round(float(a), 6), round(float(b), 6)]
            for name, a, b in zip(NAMES, low, high, strict=True)
            if np.isfinite(a)
        },
    }


def notes(found: Validation) -> list[str]:
    """The default beside the other evaluators, and what more trainings would allow."""
    known, lines, default = found.known, list[str](), default_evaluator()
    for name in standalone_evaluators():
        if name != default:
            gap = above(known, found.row(default), found.row(name))
            lines.append(
                f"{default} less {name}: tau {difference_words(gap.kendall)}; at equal "
                f"MACs {difference_words(gap.in_band)}."
            )
    best = []
    for seeds in (1, 2, 3):
        noise = np.full(len(known.top1), known.noise / np.sqrt(seeds))
        at = at_best(known.top1, noise, known.macs, np.random.default_rng(0))
        best.append("-" if at is None or at.kendall.value is None else f"{at.kendall.value:.2f}")
    lines.append(
        f"At best, were every network trained once, twice, three times: {', '.join(best)}."
    )
    return lines


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def main() -> None:
    """Validate all of them; takes a minute or two."""
    evaluators = [*map(make_evaluator, standalone_evaluators()), JointEvaluator(attention=False)]
    found = validate(evaluators, load_bench(BENCH))
    console.show(validation_table(found))
    console.show_notes([*validation_notes(found), *notes(found)])
    path = folders("nasbench")[0] / f"{BENCH}.evidence.json"
    write_atomic(path, json.dumps(document(found), indent=1) + "\n")
    console.say(f"Wrote {path.name}")


if __name__ == "__main__":
    main()
