"""From operators to kernels: bytes by precision, what a compiler merges, what it may not."""

import pytest

from smt_nas.conditions import Conditions
from smt_nas.costs.ops import Op
from smt_nas.devices.gpu_kernels import KINDS, build_kernels

COMPILED = Conditions(mode="compile", precision="fp16")


def op(kind, *sources, written=100, name="", **rest):
    """An operator that reads (back, elements) each."""
    read = sum(n for _, n in sources)
    return Op("p", name or kind, kind, rest.pop("macs", 0), read, written, sources=sources, **rest)


def linear(*sources, written=100, **rest):
    return op("linear", *sources, written=written, m=10, n=10, k=10, macs=1000, **rest)


CHAIN = [
    linear((0, 100), weights=110),
    op("elementwise", (1, 100)),
    op("norm", (1, 100), weights=20, wide=True),
    op("cast", (1, 100)),
    linear((1, 100), weights=110),
]


def kinds(found):
    return [KINDS[k] for k in found.kind]


def traffic(found):
    return list(zip(found.read, found.written, found.weights, strict=True))


def test_a_strided_convolution_is_gathered_first_and_adds_its_bias():
    """cuDNN takes a slice of channels-last memory as channels-last, and wants it without gaps."""
    conv = op("depthwise", (1, 100), m=10, n=1, k=9, groups=10, kernel=9, weights=100, strided=True)
    ops = [op("elementwise", (0, 100)), conv, op("elementwise", (1, 100), (2, 100))]
    found = build_kernels(ops, Conditions())
    assert kinds(found) == ["elementwise", "copy", "depthwise", "elementwise", "elementwise"]
    assert list(found.owner) == [0, 1, 1, 1, 2] and found.channels_last[2] == 1
    assert traffic(found)[1:] == [(400, 400, 0), (400, 400, 400), (400, 400, 40), (800, 400, 0)]
    on_cpu = build_kernels(ops, Conditions(), gpu=False)
    assert kinds(on_cpu) == ["elementwise", "depthwise", "elementwise"]
    assert on_cpu.channels_last[1] == 0


@pytest.mark.parametrize(("precision", "size"), [("fp32", 4), ("tf32", 4), ("bf16", 2)])
def test_without_autocast_all_have_one_size_and_nothing_is_cast(precision, size):
    found = build_kernels(CHAIN, Conditions(precision=precision))
    assert kinds(found) == ["linear", "elementwise", "norm", "linear"]
    assert traffic(found) == [
        (100 * size, 100 * size, w * size) for w in (110, 0, 20, 110)
    ]  # fmt: skip
    assert list(found.owner) == [0, 1, 2, 4]


def test_autocast_keeps_norms_wide_and_casts():
    found = build_kernels(CHAIN, Conditions(precision="amp-fp16"))
    assert kinds(found) == ["linear", "elementwise", "norm", "cast", "linear"]
    assert traffic(found) == [
        (400, 200, 220),  # from outside comes fp32
        (200, 200, 0),
        (200, 400, 80),
        (400, 200, 0),
        (200, 200, 220),
    ]


def test_a_compiler_merges_what_lies_between_products():
    found = build_kernels(CHAIN, COMPILED)
    assert kinds(found) == ["linear", "norm", "linear"]
    assert list(found.merged) == [1, 2, 1]
    assert traffic(found)[1] == (200, 200, 40)  # the middle is neither written nor read
    amp = build_kernels(CHAIN, Conditions(mode="compile", precision="amp-fp16"))
    assert list(amp.merged) == [1, 3, 1] and traffic(amp)[1] == (200, 200, 80)


def test_what_others_read_is_still_written():
    ops = [op("elementwise", (0, 100)), op("elementwise", (1, 100)), linear((2, 100), (1, 100))]
    found = build_kernels(ops, COMPILED)
    assert list(found.merged) == [2, 1]
    assert traffic(found)[0] == (200, 400, 0)


def test_a_source_read_twice_is_read_once():
    ops = [linear((0, 100)), op("elementwise", (1, 100)), op("elementwise", (1, 100), (2, 100))]
    assert traffic(build_kernels(ops, COMPILED))[1] == (200, 200, 0)


def test_other_numbers_of_elements_are_other_kernels():
    ops = [
        op("elementwise", (0, 100)),
        op("reduce", (1, 100), written=10),
        op("copy", (1, 10), written=10),
    ]
    assert list(build_kernels(ops, COMPILED).merged) == [2, 1]


def test_no_kernel_waits_for_itself():
    ops = [
        op("elementwise", (0, 100)),
        linear((1, 100)),
        op("elementwise", (2, 100)),  # would join the first, which is before the product
        op("elementwise", (1, 100), (2, 100)),  # may not: the product needs the first
    ]
    found = build_kernels(ops, COMPILED)
    assert list(found.merged) == [2, 1, 1]


def test_a_long_sum_takes_a_kernel_of_its_own_end():
    n = 100_000
    ops = [op("reduce", (0, n), written=1), op("norm", (1, 1), (0, n), written=n)]
    assert list(build_kernels(ops, COMPILED).merged) == [1, 1]


def test_pooling_does_not_join_what_it_reads():
    ops = [op("elementwise", (0, 100)), op("reduce", (1, 100), name="avg_pool2d")]
    assert list(build_kernels(ops, COMPILED).merged) == [1, 1]


def test_what_only_a_cat_reads_is_computed_in_it():
    parts = [op("elementwise", (0, 50), written=50), op("elementwise", (0, 50), written=50)]
    ops = [*parts, op("copy", (1, 50), (2, 50), name="cat"), linear((1, 100))]
    found = build_kernels(ops, COMPILED)
    assert list(found.merged) == [3, 1]
    assert traffic(found)[0] == (100, 200, 0)


@pytest.mark.parametrize(
    ("kind", "channels_last", "mode", "apart"),
    [
        ("conv", False, "eager", True),
        ("grouped", False, "eager", True),
        ("depthwise", False, "eager", False),  # torch's own kernel adds it
        ("depthwise", True, "eager", True),
        ("depthwise", False, "compile", True),
    ],
)
def test_a_convolutions_bias_is_added_apart(kind, channels_last, mode, apart):
    conv = op(kind, (0, 100), n=4, k=9, groups=2, weights=80, channels_last=channels_last)
    ops = [conv, linear((1, 100))]
    found = build_kernels(ops, Conditions(mode=mode, precision="fp16"))
    assert kinds(found) == [kind, *["elementwise"] * apart, "linear"]
    assert list(found.owner) == [0, *[0] * apart, 1]
    assert len(build_kernels(ops, Conditions(mode=mode), gpu=False)) == 2
    bare = op(kind, (0, 100), n=4, k=9, groups=2, weights=72, channels_last=channels_last)
    assert len(build_kernels([bare, linear((1, 100))], Conditions(mode=mode))) == 2


def test_between_two_batches_and_beyond():
    two = build_kernels([linear((0, 200), written=200, weights=110)], Conditions())
    three = build_kernels([linear((0, 300), written=300, weights=110)], Conditions())
    ten = two.at(three, 8)
    assert (ten.read[0], ten.weights[0], ten.kind[0]) == (4000, 440, two.kind[0])
