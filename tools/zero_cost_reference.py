"""Draw the reference sample that standardises the zero-cost score of a space.

    python -m tools.zero_cost_reference smt smt_micro --n 256

Writes smt_nas/data/reference/SPACE.csv. Run it again only when a measure changes: every stored
score depends on it. So the sample is of a fixed edition of the space, whatever it grows to.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
import torch

from smt_nas import costs
from smt_nas.evaluators.zero_cost import MEASURES, measure
from smt_nas.space.editions import FIRST_SMT, find_edition

FOLDER = Path(__file__).resolve().parents[1] / "smt_nas" / "data" / "reference"
EDITIONS = {"smt": FIRST_SMT, "smt_micro": "2d2b409283a8"}


def main() -> None:
    """Measure a seeded sample of each space named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("spaces", nargs="+", choices=EDITIONS)
    parser.add_argument("--n", type=int, default=256)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for name in args.spaces:
        space = find_edition(name, EDITIONS[name])
        assert space is not None
        archs = space.decode(space.sample(np.random.default_rng(0), args.n))
        path = FOLDER / f"{name}.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["key", "params", "macs", *MEASURES])
            for arch in archs:
                logs, cost = measure(arch), costs.of(arch)
                row = [f"{logs[m]:.6f}" for m in MEASURES]
                writer.writerow([arch.key, cost.params, cost.macs, *row])
                file.flush()
        print(f"{path.name}: {len(archs)} networks of space {name} ({space.digest})")


if __name__ == "__main__":
    main()
