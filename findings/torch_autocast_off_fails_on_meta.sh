#!/usr/bin/env bash
# torch 2.13.0, Python 3.11
#
# A network that turns autocast off around a part of its forward by the device of its input,
#
#     with torch.autocast(x.device.type, enabled=False): ...
#
# runs on a CPU and on a GPU, and fails on the meta device, where tools count operators and trace
# shapes without computing. Nothing is wanted of autocast there, as it is disabled; the error is
# raised while the context is made, and names neither autocast nor the device:
#
#     cpu   enabled=False: runs
#     meta  enabled=False: RuntimeError: unsupported scalarType
#
# Why it matters: keeping a softmax or a loss in fp32 this way is usual, and it makes a counter or
# a predictor say that such a network cannot be traced. A `dtype` by hand does not help: then it says
# that the device type is not supported. A tracer must let the context stand for the device meant.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6

"$folder/venv/bin/python" - <<'PYTHON'
import torch


class Scores(torch.nn.Module):
    def forward(self, x):
        with torch.autocast(x.device.type, enabled=False):
            return torch.softmax(x.float(), dim=-1)


def describe(device):
    try:
        Scores()(torch.empty(2, 3, device=device))
    except RuntimeError as error:
        return f"RuntimeError: {error}"
    return "runs"


outcomes = {device: describe(device) for device in ("cpu", "meta")}
for device, outcome in outcomes.items():
    print(f"{device:5s} enabled=False: {outcome}")
assert outcomes["cpu"] == "runs", outcomes
assert outcomes["meta"] == "RuntimeError: unsupported scalarType", outcomes
PYTHON
