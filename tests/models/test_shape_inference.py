"""Shapes of operators, remembered or worked out here, against those that torch works out."""

import pytest
import torch

from smt_nas.models.shape_inference import ShapeMemory, make_alike, run_on_shapes

aten = torch.ops.aten


def meta(*shape, dtype=torch.float32, channels_last=False):
    x = torch.empty(shape, dtype=dtype, device="meta")
    return x.to(memory_format=torch.channels_last) if channels_last else x


def describe(results):
    results = results if isinstance(results, tuple) else (results,)
    return [(tuple(t.shape), t.stride(), t.dtype, t.device.type) for t in results]


IMAGE, WEIGHT = (2, 8, 4, 6), (8,)
CASES = {
    "batch norm": lambda: (
        aten.native_batch_norm.default,
        (meta(*IMAGE), *[meta(*WEIGHT)] * 4, False, 0.1, 1e-5),
    ),
    "batch norm, channels last": lambda: (
        aten.native_batch_norm.default,
        (meta(*IMAGE, channels_last=True), *[meta(*WEIGHT)] * 4, False, 0.1, 1e-5),
    ),
    "batch norm of halves": lambda: (
        aten.native_batch_norm.default,
        (meta(*IMAGE, dtype=torch.float16), *[meta(*WEIGHT)] * 4, False, 0.1, 1e-5),
    ),
    "layer norm": lambda: (
        aten.native_layer_norm.default,
        (meta(2, 4, 6, 8), [8], meta(8), meta(8), 1e-6),
    ),
    "layer norm over two dimensions": lambda: (
        aten.native_layer_norm.default,
        (meta(2, 4, 6, 8), [6, 8], None, None, 1e-6),
    ),
    "layer norm of a transposed map": lambda: (
        aten.native_layer_norm.default,
        (meta(*IMAGE).permute(0, 2, 3, 1), [8], meta(8), meta(8), 1e-6),
    ),
    "gelu": lambda: (aten.gelu.default, (meta(2, 9, 4).permute(0, 2, 1),)),
    "a product with a slice": lambda: (aten.mul.Tensor, (meta(2, 4, 3), meta(2, 4, 6)[..., ::2])),
    "a sum of maps that lie otherwise": lambda: (
        aten.add.Tensor,
        (meta(*IMAGE), meta(*IMAGE, channels_last=True)),
    ),
    "a sum of two types": lambda: (aten.add.Tensor, (meta(2, 3), meta(2, 3, dtype=torch.float16))),
    "a sum over rows": lambda: (aten.add.Tensor, (meta(2, 3), meta(3))),
    "a mean over a map": lambda: (aten.mean.dim, (meta(2, 4, 6, 8), [1, -2])),
    "a mean that keeps its dimension": lambda: (aten.mean.dim, (meta(2, 4), [1], True)),
    "relu": lambda: (aten.relu.default, (meta(*IMAGE, channels_last=True),)),
    "a product": lambda: (aten.addmm.default, (meta(5), meta(3, 4), meta(4, 5))),
    "a product of halves": lambda: (
        aten.addmm.default,
        (*(meta(*s, dtype=torch.float16) for s in ((5,), (3, 4), (4, 5))),),
    ),
    "a sum with a float": lambda: (aten.add.Tensor, (meta(3, dtype=torch.int64), 1.0)),
    "a sum with an integer": lambda: (aten.add.Tensor, (meta(3, dtype=torch.int64), 1)),
    "a stack": lambda: (aten.stack.default, ([meta(3, 4), meta(3, 4)], 1)),
    "a stack at the end": lambda: (aten.stack.default, ([meta(3, 4), meta(3, 4)], -1)),
    "a stack of transposed maps": lambda: (
        aten.stack.default,
        ([meta(2, 9, 4).permute(0, 2, 1)] * 3, 1),
    ),
    "a stack of images": lambda: (aten.stack.default, ([meta(*IMAGE, channels_last=True)] * 2, 1)),
    "a view": lambda: (aten.transpose.int, (meta(3, 4), 0, 1)),
}


@pytest.mark.parametrize("name", CASES)
def test_shapes_are_those_that_torch_gives_also_from_memory(name):
    func, args = CASES[name]()
    expected = describe(func(*args))
    assert describe(run_on_shapes(func, args, {})) == expected
    assert describe(run_on_shapes(func, args, {})) == expected


def test_numbers_are_computed_and_what_writes_into_its_input_does():
    with ShapeMemory():
        x = torch.ones(3)
        y = x + 1
        x.add_(1)
    assert y.tolist() == x.tolist() == [2.0, 2.0, 2.0]


def test_results_from_memory_share_nothing():
    x = meta(3)
    one, other = (run_on_shapes(aten.add.Tensor, (x, x), {}) for _ in range(2))
    addresses = {t.untyped_storage()._cdata for t in (x, one, other)}
    assert len(addresses) == 3


@pytest.mark.parametrize("dtype", [None, torch.float16])
def test_an_empty_tensor_lies_as_its_model_does(dtype):
    for x in (meta(*IMAGE), meta(*IMAGE, channels_last=True), meta(*IMAGE)[:, ::2]):
        expected = describe(torch.empty_like(x, dtype=dtype, device="meta"))
        assert describe(make_alike(x, dtype)) == expected
