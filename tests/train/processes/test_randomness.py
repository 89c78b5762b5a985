"""What is drawn depends on a key alone."""

import random

import numpy as np
import pytest
import torch

from smt_nas.train.processes.randomness import (
    make_generator,
    preserve_generators,
    seed_all,
    seed_cpu,
)


def drawn():
    return random.random(), float(np.random.random()), float(torch.rand(()))


@pytest.fixture(autouse=True)
def kept():
    with preserve_generators(torch.device("cpu")):
        yield


@pytest.mark.parametrize("seed", [seed_all, seed_cpu])
def test_a_key_gives_the_same_numbers_and_another_key_others(seed):
    found = []
    for key in ((1, 2, 3), (1, 2, 3), (1, 2, 4), (2**63 - 1, 0)):
        seed(*key)
        found.append(drawn())
    assert found[0] == found[1]
    assert all(len(set(column)) == 3 for column in zip(*found, strict=True))


def test_on_the_cpu_both_are_the_same():
    seed_all(5, 6)
    first = drawn()
    seed_cpu(5, 6)
    assert drawn() == first


def test_a_key_does_not_change_between_versions():
    seed_cpu(0, 1, 2)
    assert drawn() == pytest.approx((0.7652796, 0.4007525, 0.0872348), abs=1e-6)


def test_a_generator_of_its_own_leaves_the_global_ones_alone():
    before = torch.get_rng_state()
    first, second = (torch.rand(3, generator=make_generator(4, 5)) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), before)
