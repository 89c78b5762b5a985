"""The roofline: bounded by the peaks, monotone, with waves, thin shapes and caches."""

import dataclasses
import itertools

import pytest

from smt_nas.conditions import Conditions
from smt_nas.costs.ops import Op
from smt_nas.devices.gpu_kernels import build_kernels
from smt_nas.devices.roofline import Hardware, kernel_times, load_efficiency

C = dict(load_efficiency("gpu").coefficients)
HW = Hardware(300, 20, 2000, 40, 108, tensor=True, half=True)
EXACT = {**C, "start_us": 0.0}


def product(m, n, k, kind="linear", groups=1):
    return Op(
        "", "", kind, groups * m * n * k, groups * m * k, groups * m * n, n * k,
        m=m, n=n, k=k, groups=groups, sources=((0, groups * m * k),),
    )  # fmt: skip


def ms(op, c=EXACT, hw=HW, compiled=False):
    return kernel_times(build_kernels([op], Conditions(precision="fp16")), hw, c, compiled).total[0]


def test_a_large_product_nears_its_share_of_the_peak():
    op = product(8192, 8192, 8192)
    ideal = 2e-9 * op.macs / HW.product_tflops / C["linear_tensor"]
    assert ideal < ms(op) < 1.3 * ideal


def test_a_copy_takes_its_bytes_over_the_bandwidth():
    n = 10**9
    op = Op("", "", "copy", 0, n, n, sources=((0, n),))
    ideal = 1e-6 * 4 * n / HW.bandwidth_gbps / C["bytes_copy"]
    assert ms(op) == pytest.approx(ideal, rel=0.02)


@pytest.mark.parametrize("field", ["m", "n", "k"])
def test_more_work_never_takes_less(field):
    sizes = {"m": 4096, "n": 512, "k": 512}
    times = [ms(product(**{**sizes, field: s})) for s in range(64, 4096, 64)]
    assert all(b >= a * (1 - 1e-9) for a, b in itertools.pairwise(times))


def test_the_last_wave_costs_a_full_one():
    compute = {**EXACT, "bytes_linear": 1e6}
    full = ms(product(128 * 108, 128, 4096), compute)
    assert ms(product(128 * 108 + 1, 128, 4096), compute) > 1.2 * full


def test_a_short_sum_and_odd_channels_reach_less():
    def share(op):
        return op.macs / ms(op, {**EXACT, "bytes_linear": 1e6})

    assert share(product(65536, 512, 32)) < 0.8 * share(product(65536, 512, 512))
    assert share(product(65536, 512, 513)) < 0.9 * share(product(65536, 512, 520))


def test_what_fits_the_cache_moves_faster():
    def rate(n):
        return n / ms(Op("", "", "elementwise", 0, n, n, sources=((0, n),)))

    assert rate(10**6) > 1.2 * rate(10**9)


def test_faster_hardware_is_faster():
    ops = [product(4096, 512, 512), product(64, 49, 32, "attention", 800)]
    ops.append(Op("", "", "norm", 0, 10**7, 10**7, sources=((0, 10**7),)))
    found = build_kernels(ops, Conditions(precision="fp16"))
    slow = kernel_times(found, HW, C, False).total
    fast = HW._replace(product_tflops=600, vector_tflops=40, bandwidth_gbps=4000)
    assert (kernel_times(found, fast, C, False).total < slow).all()


def test_depthwise_computes_outside_the_tensor_cores():
    op = Op(
        "", "", "depthwise", 10**9, 10**7, 10**7, m=10**5, n=1, k=81, groups=100, kernel=81,
        sources=((0, 10**7),),
    )  # fmt: skip
    more = HW._replace(product_tflops=3000)
    assert ms(op, hw=more) == ms(op) > ms(op, hw=HW._replace(vector_tflops=40))
    assert ms(dataclasses.replace(op, channels_last=True)) != ms(op)


def norm(rows, width):
    n = rows * width
    return Op("", "", "norm", 0, n, n, 2 * width, m=rows, n=width, sources=((0, n),))


def test_a_layer_norm_takes_a_block_for_every_row_but_not_where_it_is_compiled():
    few, many = norm(1000, 4096), norm(64_000, 64)  # as many bytes
    assert ms(many) > 3 * ms(few)
    assert ms(many, compiled=True) == pytest.approx(ms(few, compiled=True), rel=0.01)


def test_a_large_depthwise_kernel_is_slow_in_channels_last_memory():
    def per_product(side, last):
        op = Op(
            "", "", "depthwise", 10**5 * 100 * side**2, 10**7, 10**7, m=10**5, n=1, k=side**2,
            groups=100, kernel=side**2, channels_last=last, sources=((0, 10**7),),
        )  # fmt: skip
        return ms(op) / op.macs

    last, first = (per_product(9, order) / per_product(7, order) for order in (True, False))
    assert last > 3 * first


def test_a_kernel_takes_at_least_its_start():
    assert ms(product(1, 8, 8), C) >= 1e-3 * C["start_us"]
