"""RoIAlign in plain torch against the definition, written as loops, and torchvision's kernel."""

import numpy as np
import pytest
import torch

from smt_nas.runtime.torchvision_ops import check_torchvision, import_torchvision
from smt_nas.tasks.roi_align import RegionPool, align_by_sampling, roi_align

ROIS = [
    [0, 3.0, 2.0, 21.5, 17.25],
    [1, 0.0, 0.0, 60.0, 11.0],  # beyond the right border
    [1, -6.0, -9.0, 5.0, 8.0],  # beyond the others
    [0, 10.0, 10.0, 10.4, 10.2],  # smaller than a position
    [0, 12.0, 4.0, 13.0, 30.0],
]


def one_sample(image, y, x):
    """Bilinear in one map (H, W), as He et al. 2017 and its code: 0 beyond one position outside."""
    height, width = image.shape
    if not (-1 <= y <= height and -1 <= x <= width):
        return 0.0
    y, x = (min(max(p, 0.0), size - 1.0) for p, size in ((y, height), (x, width)))
    top, left = int(y), int(x)
    down, right = min(top + 1, height - 1), min(left + 1, width - 1)
    v, u = y - top, x - left
    first = image[top, left] * (1 - u) + image[top, right] * u
    return first * (1 - v) + (image[down, left] * (1 - u) + image[down, right] * u) * v


def by_loops(maps, rois, cells, scale, samples, aligned):
    out = np.zeros((len(rois), maps.shape[1], cells, cells))
    for k, (image, *box) in enumerate(rois):
        x1, y1, x2, y2 = (side * scale - 0.5 * aligned for side in box)
        width, height = x2 - x1, y2 - y1
        if not aligned:
            width, height = max(width, 1.0), max(height, 1.0)
        nx = samples or int(np.ceil(width / cells))
        ny = samples or int(np.ceil(height / cells))
        for c, i, j in np.ndindex(out.shape[1:]):
            values = [
                one_sample(
                    maps[int(image), c],
                    y1 + (i + (a + 0.5) / ny) * height / cells,
                    x1 + (j + (b + 0.5) / nx) * width / cells,
                )
                for a in range(ny)
                for b in range(nx)
            ]
            out[k, :, i, j][c] = np.mean(values)
    return out


@pytest.fixture
def maps():
    return torch.from_numpy(np.random.default_rng(0).standard_normal((2, 3, 9, 13)))


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("samples", [0, 2])
def test_it_is_the_definition(maps, samples, aligned):
    rois = torch.tensor(ROIS, dtype=torch.float64)
    got = align_by_sampling(maps, rois, 3, 0.25, samples, aligned)
    wanted = by_loops(maps.numpy(), ROIS, 3, 0.25, samples, aligned)
    np.testing.assert_allclose(got.numpy(), wanted, atol=1e-10)


def test_gradients_are_those_of_the_definition(maps):
    rois = torch.tensor(ROIS[:2], dtype=torch.float64)
    leaf = maps.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: align_by_sampling(x, rois, 2, 0.25), leaf, fast_mode=True
    )


def test_half_precision_keeps_its_type_and_sums_in_single(maps):
    rois = torch.tensor(ROIS)
    half = align_by_sampling(maps.bfloat16(), rois, 3, 0.25)
    exact = align_by_sampling(maps.bfloat16().float(), rois, 3, 0.25)
    assert half.dtype == torch.bfloat16
    assert torch.equal(half, exact.bfloat16())


def test_no_region_and_no_extent_are_no_error(maps):
    assert align_by_sampling(maps, torch.zeros(0, 5), 3, 0.25).shape == (0, 3, 3, 3)
    flat = torch.tensor([[0, 4.0, 4.0, 4.0, 9.0]], dtype=torch.float64)
    assert not align_by_sampling(maps, flat, 3, 0.25).any()


@pytest.mark.skipif(
    check_torchvision() != "whole", reason="torchvision's operators do not load beside this torch"
)
@pytest.mark.parametrize("samples", [0, 2])
def test_the_kernel_of_torchvision_agrees(maps, samples):
    rois = torch.tensor(ROIS)
    native = import_torchvision().ops.roi_align(maps.float(), rois, (7, 7), 0.25, samples, True)
    own = align_by_sampling(maps.float(), rois, 7, 0.25, samples)
    torch.testing.assert_close(own, native, atol=1e-4, rtol=0)
    torch.testing.assert_close(roi_align(maps.float(), rois, 7, 0.25, samples), native)


def test_larger_regions_come_from_deeper_maps():
    pool = RegionPool((4, 8, 16, 32), 7)
    sides = torch.tensor([1.0, 111, 112, 223, 224, 447, 448, 2000])
    boxes = torch.stack([sides * 0, sides * 0, sides, sides], dim=1)
    assert pool.choose_levels(boxes).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    # of a stem of stride 2, whose maps are twice as fine
    assert RegionPool((2, 4, 8, 16), 7).choose_levels(boxes).tolist() == [0, 1, 2, 2, 3, 3, 3, 3]


def test_a_pyramid_is_pooled_in_the_order_of_the_images():
    """Maps that hold their own number and the image's."""
    strides = (4, 8)
    maps = {
        str(level): torch.stack([torch.full((1, 64, 64), 10.0 * level + i) for i in range(2)])
        for level in range(2)
    }
    small, large = [8.0, 8, 40, 40], [8.0, 8, 150, 150]
    boxes = [torch.tensor([large, small]), torch.tensor([small])]
    pooled = RegionPool(strides, 2)({**maps, "pool": maps["0"]}, boxes)
    assert pooled.shape == (3, 1, 2, 2)
    assert [x.unique().tolist() for x in pooled] == [[10.0], [0.0], [1.0]]
