#!/usr/bin/env bash
# ray 2.60.0, Python 3.11
#
# ray.init() replaces the process's SIGTERM handler by one of its own, and ray.shutdown() leaves it
# there: what the program had set before is gone for good, though Ray is no longer used.
#
#     before ray.init():      set_by_the_program
#     after ray.shutdown():   sigterm_handler
#
# Ray's handler leaves by sys.exit, so the process ends by another code than a program that was ended
# by SIGTERM, or saves nothing where its own handler would have written a checkpoint.
#
# Why it matters: trainings and searches save when they are told to stop (SLURM and Kubernetes send
# SIGTERM), and one that has used Ray for a while no longer hears of it. Our Ray engine puts the
# handler back.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ray==2.60.0

cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import signal

import ray


def set_by_the_program(number, frame):
    print("saving")


signal.signal(signal.SIGTERM, set_by_the_program)
print("before ray.init():     ", signal.getsignal(signal.SIGTERM).__name__)
ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
ray.shutdown()
after = signal.getsignal(signal.SIGTERM)
print("after ray.shutdown():  ", getattr(after, "__name__", after))
assert after is not set_by_the_program, "ray.shutdown() puts the handler back now"
PYTHON
