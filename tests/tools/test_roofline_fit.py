"""The fit finds coefficients that made the data, and keeps a device's own factor apart."""

import numpy as np
import pytest

from smt_nas.conditions import Conditions
from smt_nas.costs.ops import Op
from smt_nas.devices.gpu_kernels import build_kernels
from smt_nas.devices.roofline import Hardware
from tools.roofline_fit import GUESSES, Sample, concatenate, fit_roofline

TRUE = {name: guess for name, (guess, _) in GUESSES.items()} | {
    "bytes_elementwise": 0.7,
    "linear_tensor": 0.8,
}
HARDWARE = {
    "a": Hardware(300, 20, 2000, 40, 108, tensor=True, half=True),
    "b": Hardware(100, 15, 900, 6, 80, tensor=True, half=True),
}


def network(rng):
    """Some linears and sums."""
    ops = []
    for _ in range(6):
        m, n, k = rng.integers(64, 4096, 3) * 8
        ops.append(
            Op("", "", "linear", int(m * n * k), int(m * k), int(m * n), int(n * k),
               m=int(m), n=int(n), k=int(k), sources=((0, int(m * k)),))
        )  # fmt: skip
        size = int(rng.integers(10**6, 10**8))
        ops.append(Op("", "", "elementwise", 0, size, size, sources=((0, size),)))
    return build_kernels(ops, Conditions(precision="fp16"))


def sample(device, factor, seed):
    rng = np.random.default_rng(seed)
    table, count, index = concatenate([network(rng) for _ in range(30)])
    names = tuple(map(str, range(30)))
    blank = Sample(
        device, "eager", names, HARDWARE[device], table, count, index, np.ones(30), np.ones(30)
    )
    truth = factor * blank.predict(TRUE)
    return Sample(device, "eager", names, HARDWARE[device], table, count, index, truth, np.ones(30))


SAMPLES = [sample("a", 1.1, 0), sample("b", 0.9, 1)]


@pytest.fixture(scope="module")
def fitted():
    return fit_roofline(SAMPLES)


def test_predictions_are_those_of_the_truth(fitted):
    for s in SAMPLES:
        assert fitted.predict(s, known=True) == pytest.approx(s.truth_ms, rel=0.03)


def test_devices_keep_their_factors(fitted):
    a, b = (fitted.devices[d, "eager"] for d in "ab")
    assert a - b == pytest.approx(np.log(1.1 / 0.9), abs=0.05)
    unseen = sample("a", 1.0, 2)
    assert fitted.predict(unseen) == pytest.approx(unseen.truth_ms, rel=0.08)


def test_what_no_data_speaks_of_stays_as_guessed(fitted):
    assert fitted.coefficients["depthwise_area"] == pytest.approx(GUESSES["depthwise_area"][0])


def test_equal_kernels_of_a_network_are_counted_once():
    one = network(np.random.default_rng(5))
    table, count, index = concatenate([one, one])
    assert len(table) == 24 and set(count) == {1.0} and list(np.unique(index)) == [0, 1]
    ops = [Op("", "", "copy", 0, 8, 8)] * 3
    _, count, _ = concatenate([build_kernels(ops, Conditions())])
    assert list(count) == [3]


def test_a_choice_of_networks(fitted):
    keep = np.arange(30) % 3 == 0
    part = SAMPLES[0].only(keep)
    assert len(part.names) == 10
    assert fitted.predict(part) == pytest.approx(fitted.predict(SAMPLES[0])[keep])
