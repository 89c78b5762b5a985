"""Operators for training on a CPU against torch's own."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from smt_nas.arch import Architecture, Stage, Stem
from smt_nas.models import build, training_ops


@pytest.fixture(autouse=True)
def fast():
    with training_ops.use_fast_gradients(True):
        yield


KERNELS = {1: (5,), 2: (3, 7), 4: (3, 5, 7, 9), 8: (3, 5, 7, 9, 11, 13, 15, 17)}


def make_arch(heads: int, width: int) -> Architecture:
    stages = tuple(
        Stage(
            dim=width, depth=2, attention_ratio=share, kernels=KERNELS[heads], head_dim=width // 4
        )
        if share < 1
        else Stage(dim=width, depth=1, attention_ratio=1, head_dim=width // 4)
        for share in (0, 0, 0.5, 1)
    )
    return Architecture(
        image_size=32, num_classes=10, in_channels=3, stem=Stem(kernel=3, stride=2), stages=stages
    )


def compute_gradients(arch: Architecture, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
    model = build(arch, generator=torch.Generator().manual_seed(0)).double().train()
    loss = model(images).square().sum()
    loss.backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    statistics = [buffer.double() for buffer in model.buffers()]
    return (loss.detach(), *gradients, *statistics)


@pytest.mark.parametrize("heads", KERNELS)
@pytest.mark.parametrize("width", [16, 160])  # of SAA as a dense product, and as a convolution
@pytest.mark.parametrize("size", [(32, 32), (35, 41)])
def test_a_network_has_the_loss_gradients_and_statistics_of_torchs_operators(heads, width, size):
    if width % heads:
        pytest.skip("no such network")
    arch = make_arch(heads, width)
    images = torch.randn(4, 3, *size, dtype=torch.float64)
    ours = compute_gradients(arch, images)
    with training_ops.use_fast_gradients(False):
        plain = compute_gradients(arch, images)
    for one, other in zip(ours, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("kernel", [1, 3, 5, 9])
@pytest.mark.parametrize("size", [(1, 1), (2, 2), (1, 7), (6, 5)])
def test_gradients_of_a_depthwise_convolution(kernel, size):
    conv = training_ops.make_depthwise(6, kernel).double().train()
    x = torch.randn(3, 6, *size, dtype=torch.float64, requires_grad=True)
    inputs = (x, conv.weight, conv.bias)
    assert torch.autograd.gradcheck(training_ops.convolve_depthwise, inputs)
    assert torch.autograd.gradgradcheck(training_ops.convolve_depthwise, inputs)
    expected = F.conv2d(x, conv.weight, conv.bias, padding=kernel // 2, groups=6)
    torch.testing.assert_close(training_ops.apply_depthwise(conv, x), expected)


def test_a_frozen_weight_or_input_gets_no_gradient():
    conv = training_ops.make_depthwise(4, 5).train()
    conv.weight.requires_grad_(False)
    training_ops.apply_depthwise(conv, torch.randn(2, 4, 6, 6)).sum().backward()
    assert conv.weight.grad is None and conv.bias is not None and conv.bias.grad is not None


def test_other_conditions_run_torchs_operators(monkeypatch):
    monkeypatch.setattr(training_ops, "convolve_depthwise", lambda *_: pytest.fail("ours ran"))
    conv, x = training_ops.make_depthwise(4, 5), torch.randn(2, 4, 6, 6)
    training_ops.apply_depthwise(conv.eval(), x)
    conv.train()
    with torch.no_grad():
        training_ops.apply_depthwise(conv, x)
    with torch.autocast("cpu", torch.bfloat16):
        training_ops.apply_depthwise(conv, x)
    with training_ops.use_fast_gradients(False):
        training_ops.apply_depthwise(conv, x)
    training_ops.apply_depthwise(conv.to("meta"), x.to("meta"))


def test_all_layers_are_torchs_own():
    """Op counters and quantizers know a layer by its exact type."""
    kinds = {type(m) for m in build(make_arch(4, 16)).modules() if isinstance(m, nn.Conv2d)}
    assert kinds == {nn.Conv2d}


def test_a_layer_that_is_hooked_or_wrapped_is_called():
    """Else pruning's hook would not make the weight, and the wrapper would be passed over."""
    model, images = build(make_arch(4, 16)).train(), torch.randn(2, 3, 32, 32)
    convs = {name: m for name, m in model.named_modules() if isinstance(m, nn.Conv2d)}
    called = []
    for name, conv in convs.items():
        conv.register_forward_hook(lambda *_, name=name: called.append(name))
    model(images)
    assert sorted(called) == sorted(convs)

    class Wrapper(nn.Module):
        def __init__(self, conv):
            super().__init__()
            self.conv = conv

        def forward(self, x):
            called.append("wrapper")
            return self.conv(x)

    sam = next(m for m in build(make_arch(4, 16)).train().modules() if type(m).__name__ == "SAM")
    sam.heads[1] = Wrapper(sam.heads[1])
    sam(torch.randn(2, 4, 4, 16))
    assert called[-1] == "wrapper"
