#!/usr/bin/env bash
# optuna 5.0.0, Python 3.11
#
# NSGAIISampler breeds only from trials that bear its own mark of a generation, a system attribute
# that it writes when it samples a trial itself. Trials of another origin (`study.add_trial`: results
# of before, of another tool, of a table) are in the study, and in `best_trials`, but never parents:
# with hundreds of them it draws its first generation at random, as if the study were empty, and says
# nothing.
# TPESampler learns from the same trials:
#
#     200 added trials, best at x = 0.9; mean distance to it of the next 40 samples:
#     random  0.34
#     nsga2   0.34
#     tpe     0.01
#
# (the order is what is checked; figures of one machine)
#
# Why it matters: searches over networks begin with what was trained already, and whoever compares
# samplers from one history gets random search under the name of NSGA-II. Our own `optuna:nsga2` was
# that, until each trial it was told got the mark of a generation.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check optuna==5.0.0

cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import random
import statistics

import optuna

optuna.logging.set_verbosity(optuna.logging.ERROR)
BEST, SPACE = 0.9, {"x": optuna.distributions.FloatDistribution(0.0, 1.0)}


def sample_after_history(sampler):
    study = optuna.create_study(sampler=sampler)
    draw = random.Random(0)
    for _ in range(200):
        x = draw.random()
        trial = optuna.trial.create_trial(params={"x": x}, distributions=SPACE, value=abs(x - BEST))
        study.add_trial(trial)
    asked = []
    for _ in range(40):  # within the first generation of NSGA-II after the history
        trial = study.ask(SPACE)
        asked.append(abs(trial.params["x"] - BEST))
        study.tell(trial, asked[-1])
    return statistics.mean(asked)


random_, nsga2, tpe = (
    sample_after_history(sampler)
    for sampler in (
        optuna.samplers.RandomSampler(seed=0),
        optuna.samplers.NSGAIISampler(population_size=40, seed=0),
        optuna.samplers.TPESampler(seed=0),
    )
)
print(f"200 added trials, best at x = {BEST}; mean distance to it of the next 40 samples:")
for name, distance in (("random", random_), ("nsga2", nsga2), ("tpe", tpe)):
    print(f"{name:7s} {distance:.2f}")
assert tpe < 0.5 * random_, "TPE learns from added trials no longer"
assert nsga2 > 0.75 * random_, "NSGA-II learns from added trials now"
PYTHON
