#!/usr/bin/env bash
# torch 2.13.0 (CPU), Python 3.11, g++
#
# A package of AOTInductor takes images of a size that it was not compiled for, and returns numbers
# that are wrong, without a word. The same program by torch.export's own module raises.
#
#     exported for any batch of 3x8x8; images of 3x12x12:
#     torch.export's module: AssertionError
#     AOTInductor's package: shape (2, 4, 6, 6), right would be (2, 4, 10, 10)
#
# Why it matters: who deploys a package must check shapes before each call. Keep what it takes in the
# package's metadata (`aot_inductor.metadata`), and compare.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - 2>/dev/null <<'PYTHON'
import torch
from torch import nn
from torch._inductor import aoti_compile_and_package, aoti_load_package

net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval().requires_grad_(False)
batch = {0: torch.export.Dim("batch", min=1, max=64)}
program = torch.export.export(net, (torch.randn(2, 3, 8, 8),), dynamic_shapes=({**batch},))
package = aoti_load_package(aoti_compile_and_package(program, package_path="net.pt2"))
images = torch.randn(2, 3, 12, 12)
print("exported for any batch of 3x8x8; images of 3x12x12:")
try:
    program.module()(images)
    raised = "no error"
except Exception as error:
    raised = type(error).__name__
print(f"torch.export's module: {raised}")
got, right = tuple(package(images).shape), tuple(net(images).shape)
print(f"AOTInductor's package: shape {got}, right would be {right}")
raise SystemExit(not (raised == "AssertionError" and got != right))
PYTHON
