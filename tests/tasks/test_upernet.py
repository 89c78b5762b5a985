"""UPerNet's heads: transformers' numbers from transformers' weights, dropout, the loss."""

import pytest
import torch

from smt_nas.costs.heads import UPerNetConfig
from smt_nas.models import build
from smt_nas.runtime.torchvision_ops import import_torchvision
from smt_nas.tasks.segmenter import Segmenter
from smt_nas.tasks.task_network import build_task
from smt_nas.tasks.upernet import AuxiliaryHead, UPerNetHead
from tests.fakes.weights import TINY

CHANNELS = (4, 6, 8, 10)
CONFIG = UPerNetConfig(classes=5, channels=12, aux=7)
SMALL = UPerNetConfig(classes=3, channels=8, aux=4)


def make_maps():
    generator = torch.Generator().manual_seed(0)
    sizes = ((19, 14), (10, 7), (5, 4), (3, 2))
    return [
        torch.randn(2, c, *s, generator=generator) for c, s in zip(CHANNELS, sizes, strict=True)
    ]


def test_both_heads_are_those_of_transformers():
    import_torchvision()
    upernet = pytest.importorskip("transformers.models.upernet.modeling_upernet")
    config = pytest.importorskip("transformers").UperNetConfig(
        hidden_size=12, num_labels=5, auxiliary_channels=7, pool_scales=[1, 2, 3, 6]
    )
    maps = make_maps()
    pairs = (
        (UPerNetHead(CONFIG, CHANNELS), upernet.UperNetHead(config, in_channels=CHANNELS)),
        (AuxiliaryHead(CONFIG, CHANNELS), upernet.UperNetFCNHead(config, in_channels=CHANNELS)),
    )
    for ours, theirs in pairs:
        ours.load_state_dict(theirs.state_dict())  # strictly: the same names and shapes
        with torch.no_grad():
            torch.testing.assert_close(ours.eval()(maps), theirs.eval()(maps), atol=1e-5, rtol=0)


def test_dropout_acts_on_whole_channels_before_the_classifier():
    head = UPerNetHead(CONFIG.model_copy(update={"dropout": 0.5}), CHANNELS)
    seen = []
    head.classifier.register_forward_pre_hook(lambda _, x: seen.append(x[0]))
    head(make_maps())
    dropped = (seen[0] == 0).all(dim=(2, 3))  # (B, C)
    assert 0 < dropped.sum() < dropped.numel()
    assert UPerNetHead(CONFIG, CHANNELS).dropout.p == 0.1


def test_a_segmenter_takes_any_size_and_loses_nothing():
    network = build_task(TINY, "upernet", SMALL, torch.Generator().manual_seed(0)).eval()
    images = torch.randn(2, 3, 65, 90, generator=torch.Generator().manual_seed(1))
    assert network(images).shape == (2, 3, 65, 90)


def test_losses_are_means_over_all_pixels_with_ignored_ones_as_zero():
    network = build_task(TINY, "upernet", SMALL, torch.Generator().manual_seed(0)).eval()
    assert isinstance(network, Segmenter)
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    labels = torch.randint(3, (1, 64, 64), generator=torch.Generator().manual_seed(2))
    labels[:, :16] = 255
    losses = network.compute_losses(images, labels)
    logits = network(images)
    log_probabilities = logits.log_softmax(1).gather(1, labels.clamp(max=2)[:, None])[:, 0]
    wanted = -log_probabilities[labels != 255].sum() / labels.numel()
    torch.testing.assert_close(losses["loss"], wanted)
    nothing = network.compute_losses(images, torch.full_like(labels, 255))
    assert [loss.item() for loss in nothing.values()] == [0.0, 0.0]
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in network.parameters())


def test_weights_depend_on_the_generator_alone():
    first, again = (
        build_task(TINY, "upernet", SMALL, torch.Generator().manual_seed(3)).state_dict()
        for _ in range(2)
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    body = build(TINY, features_only=True, generator=torch.Generator().manual_seed(3))
    assert torch.equal(
        body.state_dict()["stages.0.embed.conv1.weight"],
        first["backbone.stages.0.embed.conv1.weight"],
    )
