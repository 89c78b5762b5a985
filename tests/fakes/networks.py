"""The smallest network with every kind of block, and weights as training leaves them."""

import torch

from smt_nas.arch import Architecture, Stage, Stem
from smt_nas.models import build


def _stage(dim, depth, **fields):
    return Stage(dim=dim, depth=depth, mlp_ratio=2.0, kernels=(3, 5), head_dim=8, **fields)


TINY = Architecture(
    image_size=32,
    num_classes=5,
    stem=Stem(stride=2),
    stages=(
        _stage(8, 1),
        _stage(16, 1),
        _stage(16, 2, attention_ratio=0.5),
        _stage(24, 1, attention_ratio=1.0),
    ),
    drop_path=0.1,
)


def trained_state(arch, seed=1):
    """Weights whose norms and biases are not those of fresh ones, so that nothing folds away."""
    generator = torch.Generator().manual_seed(seed)
    model = build(arch, generator=generator)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith(("bias", "running_mean")):
                tensor.normal_(0, 0.1, generator=generator)
            if name.endswith("running_var") or ".bn.weight" in name:
                tensor.uniform_(0.5, 1.5, generator=generator)
    return model.state_dict()
