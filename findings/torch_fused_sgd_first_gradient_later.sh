#!/usr/bin/env bash
# torch 2.13.0, Python 3.11
#
# torch.optim.SGD(momentum=…, fused=True) on a CPU fails in the step in which a parameter has its first
# gradient, where another had one before:
#
#     TypeError: expected Tensor as element 1 in argument 2, but got NoneType
#
# The default implementation makes the same two steps. Its momentum begins with the first gradient of
# each parameter; the fused one hands the kernel a list in which the buffer of the late one is None
# still. All first gradients in one step, or all later ones, are fine.
#
# Why it matters: in a supernet, or with experts, a parameter rests until it is chosen.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6

"$folder/venv/bin/python" - <<'PYTHON'
import torch


def make_steps(fused, momentum, late):
    """Two steps of two parameters; the second has its first gradient late or not."""
    early, other = (torch.nn.Parameter(torch.ones(3)) for _ in range(2))
    optimizer = torch.optim.SGD([early, other], lr=0.1, momentum=momentum, fused=fused)
    for step in range(2):
        early.grad = torch.ones(3)
        other.grad = torch.ones(3) if step or not late else None
        optimizer.step()
    return other.detach()


print("default:", make_steps(False, 0.9, late=True).tolist())
print("fused, no momentum:", make_steps(True, 0.0, late=True).tolist())
print("fused, all at once:", make_steps(True, 0.9, late=False).tolist())
try:
    make_steps(True, 0.9, late=True)
except TypeError as error:
    print("fused, one later:", error)
else:
    raise SystemExit("it makes that step: mended")
PYTHON
