#!/usr/bin/env bash
# nni 3.0, numpy 2.4.6, Python 3.11
#
# NNI's TPE as a strategy of architecture search waits a second after every model it submits,
# whatever the engine. Its loop ends in an unconditional `time.sleep(1.)` (also after a model that
# the in-process engine has finished already), where Random and RegularizedEvolution sleep only
# while no worker is idle. With an evaluator that takes no time, 5 models take:
#
#     Random                0.0 s
#     RegularizedEvolution  0.0 s
#     TPE                   5.0 s
#
# Nothing is logged meanwhile, so a slow tuner and a waiting one look alike.
#
# Why it matters: with a benchmark, a predictor or a profiler as the evaluator, a search of a
# thousand models takes a quarter of an hour of waiting. Ask the tuner itself
# (nni.algorithms.hpo.tpe_tuner.TpeTuner: generate_parameters, receive_trial_result), which waits
# for nothing.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check nni==3.0 numpy==2.4.6

HOME="$folder" "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import time

import nni

nni.set_default_framework("none")  # or its modules ask for pytorch_lightning
nni.silence_stdout()
from nni.common.serializer import SerializableObject
from nni.mutable import Categorical
from nni.nas.evaluator.functional import FunctionalEvaluator
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.space import SimplifiedModelSpace
from nni.nas.strategy import TPE, Random, RegularizedEvolution

MODELS = 5
SPACE = SimplifiedModelSpace(
    SerializableObject(dict, [], {}),
    {label: Categorical([1, 2, 3, 4], label=label) for label in "abcdef"},
    FunctionalEvaluator(lambda model: nni.report_final_result(1.0)),
)

seconds = {}
for strategy in (
    Random(seed=0),
    RegularizedEvolution(population_size=2, sample_size=1, mutation_prob=0.5, seed=0),
    TPE(seed=0),
):
    engine, start = SequentialExecutionEngine(max_model_count=MODELS), time.monotonic()
    strategy(SPACE, engine)
    name = type(strategy).__name__
    seconds[name] = time.monotonic() - start
    print(f"{name:<21} {seconds[name]:.1f} s")
    assert len(list(engine.list_models())) == MODELS

assert seconds["TPE"] >= MODELS, "TPE does not wait any more"
assert seconds["Random"] < 1 and seconds["RegularizedEvolution"] < 1
PYTHON
