"""What GPUs do, on a CPU: resizing by products with matrices is what a CPU does image by image."""

import pytest
import torch

from smt_nas.train.data.memory.batch_transforms import (
    BatchTransform,
    _resize_all,
    _resize_each,
)
from smt_nas.train.recipe import Augment
from tests.fakes.images import pixels


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
