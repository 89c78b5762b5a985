#!/usr/bin/env bash
# pymoo 0.6.2, numpy 2.4.6, Python 3.11
#
# pymoo's recipe for integer variables, polynomial mutation with RoundingRepair, hardly ever changes
# a gene that has few options. The step is drawn relative to the range of the gene and is mostly
# small (eta 20 by default); rounding takes it back. With every gene mutated (prob_var=1):
#
#     options  eta 20 (default)  eta 3
#     2        0.000             0.031
#     3        0.001             0.199
#     4        0.017             0.332
#     8        0.183             0.597
#     32       0.673             0.871
#
# So a gene "this block: yes or no" never flips at the default eta, whatever prob says, and one
# mutation in thirty flips it at eta 3. A value that the first population lost comes back by
# sampling alone. Nothing warns: the mutation runs and offspring look mutated in their wide genes.
#
# Why it matters: genes of architecture search are choices (a kernel, a width, a ratio) of two to
# eight options. NSGA-II with the standard integer operators then searches by crossover only.
# Draw a mutated gene anew from its options instead (pymoo's ChoiceRandomMutation does, in
# MixedVariableMating).
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pymoo==0.6.2 numpy==2.4.6

"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
from pymoo.core.problem import Problem
from pymoo.operators.mutation.pm import PM
from pymoo.operators.repair.rounding import RoundingRepair
from pymoo.operators.sampling.rnd import IntegerRandomSampling


def share_changed(options, **eta):
    """Share of genes with another value after a mutation of every gene."""
    problem = Problem(n_var=20, n_obj=1, xl=0, xu=options - 1, vtype=int)
    rng = np.random.default_rng(0)
    population = IntegerRandomSampling().do(problem, 2000, random_state=rng)
    before = population.get("X").copy()
    mutate = PM(prob=1.0, prob_var=1.0, vtype=float, repair=RoundingRepair(), **eta)
    after = mutate(problem, population, random_state=rng).get("X")
    return float((after != before).mean())


print("options  eta 20 (default)  eta 3")
for options in (2, 3, 4, 8, 32):
    shares = share_changed(options), share_changed(options, eta=3.0)
    print(f"{options:<8} {shares[0]:.3f}             {shares[1]:.3f}")
    if options == 2:
        assert shares[0] == 0.0 and shares[1] < 0.05, "a gene of two options is mutated now"
PYTHON
