"""One scale and several: sizes as published, one ratio is one scale, mirrored images agree."""

import pytest
import torch

from smt_nas.tasks.scaled_prediction import MULTI_SCALE, SINGLE_SCALE, ScaleRule, predict_pixels


@pytest.fixture
def network():
    """Logits of every pixel from those around it: answers differ from pixel to pixel."""
    layer = torch.nn.Conv2d(3, 3, 5, padding=2).eval()
    with torch.no_grad():
        layer.weight.normal_(generator=torch.Generator().manual_seed(0))
    return layer


def make_image(height, width):
    return torch.randn(3, height, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("size", "ratio", "wanted"),
    [
        ((512, 683), 1.0, (512, 683)),
        ((256, 300), 1.0, (512, 600)),
        ((683, 512), 0.5, (342, 256)),  # 341.5 rounds up
        ((300, 3000), 1.0, (205, 2048)),  # the long side bounds it
        ((300, 3000), 1.75, (358, 3584)),
        ((16, 2048), 1.0, (32, 2048)),  # no less than a network takes
    ],
)
def test_sizes_are_the_published_ones(size, ratio, wanted):
    assert SINGLE_SCALE.resized(size, ratio) == wanted


def test_one_ratio_is_one_scale(network):
    """Also at a size that is no multiple of anything: 45 x 70 becomes 53 x 82."""
    image, rule = make_image(45, 70), ScaleRule(long=90, short=53)
    once = predict_pixels(network, image, rule)
    resized = torch.nn.functional.interpolate(image[None], size=(53, 82), mode="bilinear")
    with torch.no_grad():
        logits = network(resized)
    back = torch.nn.functional.interpolate(logits, size=(45, 70), mode="bilinear")
    assert once.shape == (45, 70)
    assert torch.equal(once, back.softmax(1)[0].argmax(0))
    assert torch.equal(once, predict_pixels(network, image, ScaleRule(90, 53, (1.0,), False)))


def test_a_symmetric_image_has_a_symmetric_answer_with_mirroring(network):
    half = make_image(40, 32)
    image = torch.cat([half, half.flip(-1)], dim=2)
    rule = ScaleRule(long=64, short=40, mirror=True)
    answer = predict_pixels(network, image, rule)
    assert torch.equal(answer, answer.flip(-1))
    alone = predict_pixels(network, image, ScaleRule(long=64, short=40))
    assert not torch.equal(alone, alone.flip(-1))


def test_several_scales_are_averaged(network):
    image = make_image(40, 64)
    rules = [ScaleRule(64, 40, ratios) for ratios in ((1.0,), (1.5,), (1.0, 1.5))]
    first, second, both = (predict_pixels(network, image, rule) for rule in rules)
    apart = (first != second) & ((both == first) | (both == second))
    assert (both == first)[apart].any()
    assert (both == second)[apart].any()
    assert not torch.equal(both, first) and not torch.equal(both, second)
    assert MULTI_SCALE.ratios == (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
