"""Operators for training on a CPU against torch's own."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from smt_nas.arch import Architecture, Stage, Stem
from smt_nas.models import build, mixers, training_ops

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
def test_a_network_has_the_loss_gradients_and_statistics_of_torchs_operators(
    heads, width, size, monkeypatch
):
    if width % heads:
        pytest.skip("no such network")
    arch = make_arch(heads, width)
    images = torch.randn(4, 3, *size, dtype=torch.float64)
    ours = compute_gradients(arch, images)
    for module in (mixers, training_ops):
        monkeypatch.setattr(module, "is_training_on_cpu", lambda x: False)
    plain = compute_gradients(arch, images)
    for one, other in zip(ours, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("kernel", [1, 3, 5, 9])
@pytest.mark.parametrize("size", [(1, 1), (2, 2), (1, 7), (6, 5)])
def test_gradients_of_a_depthwise_convolution(kernel, size):
    conv = training_ops.DepthwiseConv2d(6, kernel).double().train()
    x = torch.randn(3, 6, *size, dtype=torch.float64, requires_grad=True)
    inputs = (x, conv.weight, conv.bias)
    assert torch.autograd.gradcheck(training_ops.convolve_depthwise, inputs)
    assert torch.autograd.gradgradcheck(training_ops.convolve_depthwise, inputs)
    expected = F.conv2d(x, conv.weight, conv.bias, padding=kernel // 2, groups=6)
    torch.testing.assert_close(conv(x), expected)


def test_a_frozen_weight_or_input_gets_no_gradient():
    conv = training_ops.DepthwiseConv2d(4, 5).train()
    conv.weight.requires_grad_(False)
    conv(torch.randn(2, 4, 6, 6)).sum().backward()
    assert conv.weight.grad is None and conv.bias is not None and conv.bias.grad is not None


def test_other_conditions_run_torchs_operators(monkeypatch):
    monkeypatch.setattr(training_ops, "convolve_depthwise", lambda *_: pytest.fail("ours ran"))
    conv = training_ops.DepthwiseConv2d(4, 5)
    x = torch.randn(2, 4, 6, 6)
    conv.eval()(x)
    conv.train()
    with torch.no_grad():
        conv(x)
    with torch.autocast("cpu", torch.bfloat16):
        conv(x)
    conv.to("meta")(x.to("meta"))


def test_it_is_a_convolution_whose_state_others_read():
    conv = training_ops.DepthwiseConv2d(4, 5)
    assert isinstance(conv, nn.Conv2d) and set(conv.state_dict()) == {"weight", "bias"}
