"""What a GPU does with all images at once is what a CPU does image by image."""

import pytest
import torch

from smt_nas.train.data.batches.loader import UnreadableImages
from smt_nas.train.data.batches.sampler import BatchSampler
from smt_nas.train.data.examples import Source
from smt_nas.train.data.memory.batch_transforms import (
    BatchTransform,
    _erase_all,
    _erase_each,
    _resize_all,
    _resize_each,
)
from smt_nas.train.data.memory.holding import HoldingOptions, hold_images
from smt_nas.train.data.sources import Splits
from smt_nas.train.recipe import Augment, EvalTransform, Recipe
from tests.fakes.images import array, pixels


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest", "random"])
@pytest.mark.parametrize("shape", [(20, 26), (32, 32), (70, 50)])
def test_both_ways_to_resize_agree_within_rounding(interpolation, shape):
    how = Augment(crop_scale=(0.05, 1.0), interpolation=interpolation)
    transform = BatchTransform(how, 0.5, 32, (0.5,) * 3, (0.2,) * 3, 0)
    drawn = torch.from_numpy(transform.draw(0, 24, *shape))
    images = torch.from_numpy(pixels(0, 24, *shape, 3))
    one, other = (f(images, drawn, 32, interpolation).int() for f in (_resize_each, _resize_all))
    assert (one - other).abs().max() <= 2
    assert (one != other).float().mean() < 0.02


def test_both_ways_to_erase_fill_the_same_rectangles():
    boxes = torch.tensor([[0, 0, 0, 0], [3, 4, 10, 6], [30, 31, 2, 1], [0, 0, 32, 32]])
    results = []
    for erase in (_erase_each, _erase_all):
        batch = torch.zeros(4, 3, 32, 32)
        erase(batch, boxes, torch.Generator().manual_seed(1))
        results.append(batch != 0)
    assert torch.equal(*results)
    assert [int(x.sum()) for x in results[0]] == [0, 180, 6, 3072]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(
    "augment",
    [
        Augment(crop_scale=None, padding=4),
        Augment(crop_scale=(0.2, 1.0), interpolation="bilinear"),
        Augment(crop_scale=(0.2, 1.0), interpolation="random", erasing=0.5),
    ],
    ids=["padded", "resized", "erased"],
)
def test_batches_on_a_gpu_are_those_of_a_cpu(augment):
    """Within rounding; and bit for bit themselves, from any update on."""
    train = array(48, 40, channels=3, title="gpu")
    recipe = Recipe(epochs=1, augment=augment, evaluation=EvalTransform(resize="direct"))
    source = Source("x", tuple("abcd"), None, None, None, mirrors=True)
    order, streams = BatchSampler(48, 8, 1, 2, 0), []
    for device, start in (("cpu", 0), ("cuda", 0), ("cuda", 4)):
        options = HoldingOptions(torch.device(device), 32, 3)
        held = hold_images(Splits(train, train), source, recipe, 0, options)
        batches = held.training_batches(order, start, 9, 0, UnreadableImages(0))
        streams.append([(images.cpu(), labels.cpu()) for images, labels in batches])
    cpu, gpu, later = streams
    for (a, x), (b, y) in zip(cpu, gpu, strict=True):
        assert torch.equal(x, y)
        near = (a - b).abs() < 3 / 255 / min(source.std)
        assert near.float().mean() > (0.6 if augment.erasing else 0.999)
    assert all(
        torch.equal(a, b) and torch.equal(x, y)
        for (a, x), (b, y) in zip(gpu[8:], later, strict=True)
    )
