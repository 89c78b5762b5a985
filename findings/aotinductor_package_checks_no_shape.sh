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

python=${PYTHON:-python3} # with torch 2.13.0
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"$python" -W ignore - 2>/dev/null <<'PYTHON'
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
    print("torch.export's module: no error")
except Exception as error:
    print(f"torch.export's module: {type(error).__name__}")
print(
    f"AOTInductor's package: shape {tuple(package(images).shape)}, "
    f"right would be {tuple(net(images).shape)}"
)
PYTHON
