#!/usr/bin/env bash
# optuna 5.0.0, SQLAlchemy 2.1.9, Python 3.11
#
# A study in SQLite does not always stop on Ctrl-C. After every commit SQLAlchemy's objects are
# collected, and each has weakref callbacks written in Python (`InstanceState._cleanup`,
# `_collection_gced`): some 20 calls a trial. A KeyboardInterrupt that is raised inside one has nobody to
# go to; Python prints "Exception ignored in" and goes on. `study.optimize` then runs all trials and
# returns as if nothing had happened:
#
#     calls of SQLAlchemy's weakref callbacks in 20 trials: 415
#     Ctrl-C inside one of them: returned, 20 of 20 trials
#     Ctrl-C in the objective: stopped, 1 of 20 trials
#
# Why it matters: the interrupt is not late, it is gone. The trials of a search over networks take
# minutes, and a user who sees no reaction presses again or kills it. Of searches that were stopped
# right after a trial was stored, we saw two of six go on. Keep the signal in a handler of your own
# as well, and look at it between trials.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check optuna==5.0.0 SQLAlchemy==2.1.9

cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import signal
import sys

import optuna

optuna.logging.set_verbosity(optuna.logging.ERROR)
TRIALS = 20
CALLBACKS = ("_cleanup", "_collection_gced")
dropped = []
sys.unraisablehook = lambda raised: dropped.append(raised.exc_type)


def optimize(name, press_in_callback=False, press_in_objective=False):
    """How a study ended, its trials, and how often SQLAlchemy's callbacks ran."""
    calls = 0

    def watch(frame, event, _):
        nonlocal calls
        if event == "call" and frame.f_code.co_name in CALLBACKS:
            calls += 1
            if press_in_callback and calls == 1:
                signal.raise_signal(signal.SIGINT)

    def objective(trial):
        if press_in_objective:
            signal.raise_signal(signal.SIGINT)
        return trial.suggest_int("kernel", 0, 9)

    study = optuna.create_study(storage=f"sqlite:///{name}.db")
    sys.setprofile(watch)
    try:
        study.optimize(objective, n_trials=TRIALS)
        end = "returned"
    except KeyboardInterrupt:
        end = "stopped"
    finally:
        sys.setprofile(None)
    return end, len(study.trials), calls


signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
calls = optimize("plain")[2]
print(f"calls of SQLAlchemy's weakref callbacks in {TRIALS} trials: {calls}")
assert calls > TRIALS, "the callbacks are gone"
end, trials, _ = optimize("callback", press_in_callback=True)
print(f"Ctrl-C inside one of them: {end}, {trials} of {TRIALS} trials")
assert (end, trials) == ("returned", TRIALS) and KeyboardInterrupt in dropped, "it is heard now"
end, trials, _ = optimize("objective", press_in_objective=True)
print(f"Ctrl-C in the objective: {end}, {trials} of {TRIALS} trials")
assert (end, trials) == ("stopped", 1)
PYTHON
