#!/usr/bin/env bash
# torch 2.13.0, Python 3.11
#
# torch.optim.AdamW(fused=True) on a CPU goes through the memory of weights, gradients and moments as
# it lies, and does not look at their strides. Where one of them is laid out differently (a weight in
# channels-last, its moments read from a file in rows), the numbers of different elements are put
# together, and the update is wrong without a word:
#
#     moments laid out as the weight:  same as AdamW(fused=False)
#     moments in rows:                 differs by more than the learning rate
#     gradient in rows:                differs by more than half of the learning rate
#
# The default implementation of the same optimizer is right in all cases, and the fused one for CUDA
# refuses the same tensors ("params, grads, exp_avgs, and exp_avg_sqs must have same dtype, device,
# and layout").
#
# Why it matters: `load_state_dict` keeps the layout that moments have in a file, so a training of a
# channels-last network that is stopped and goes on from its checkpoint trains on with moments of
# other weights. Before a fused step all of them must be laid out as the weight.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6

"$folder/venv/bin/python" - <<'PYTHON'
import torch

RATE = 0.1
ROWS, LAST = torch.contiguous_format, torch.channels_last


def step(fused, moments=LAST, gradient=LAST):
    """The weight after one step from the same values, which are laid out in different ways."""
    draw = torch.Generator().manual_seed(0)
    values = [torch.randn(8, 4, 3, 3, generator=draw) for _ in range(4)]
    weight = torch.nn.Parameter(values[0].to(memory_format=LAST))
    optimizer = torch.optim.AdamW([weight], lr=RATE, fused=fused)
    optimizer.state[weight] = {
        "step": torch.tensor(3.0),
        "exp_avg": values[1].clone(memory_format=moments),
        "exp_avg_sq": values[2].square().clone(memory_format=moments),
    }
    weight.grad = values[3].to(memory_format=gradient)
    optimizer.step()
    return weight.detach()


right = step(fused=False)
cases = {
    "moments laid out as the weight": {},
    "moments in rows": {"moments": ROWS},
    "gradient in rows": {"gradient": ROWS},
}
errors = {}
for name, layouts in cases.items():
    assert torch.allclose(step(False, **layouts), right), name
    errors[name] = float((step(True, **layouts) - right).abs().max())
    print(f"{name}: the fused step differs by {errors[name] / RATE:.2g} learning rates")
as_weight, moments, gradient = errors.values()
assert as_weight < 1e-6, errors
assert moments > RATE and gradient > RATE / 2, errors
PYTHON
