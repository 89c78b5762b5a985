"""Block tables: sums over parts, whichever the busier of device and host, fast."""

import time
from collections import Counter

import numpy as np
import pytest

from smt_nas import SearchSpace
from smt_nas.conditions import Conditions
from smt_nas.costs.parts import PartIndex, decompose
from smt_nas.devices.block_table import BlockTable, Correction, JointTimes, join_times
from smt_nas.errors import SpaceError

SPACE = SearchSpace.load("smt")
INDEX = PartIndex.of(SPACE)
MS = np.random.default_rng(0).random(len(INDEX.parts))


def table(**fields):
    return BlockTable(INDEX, Conditions(), MS, **fields)


def by_hand(genes, values):
    at = {part: value for part, value in zip(INDEX.parts, values, strict=True)}
    return [sum(at[p] * n for p, n in Counter(decompose(a)).items()) for a in SPACE.decode(genes)]


def test_a_network_takes_what_its_parts_take():
    genes = SPACE.sample(np.random.default_rng(1), 50)
    found = table(factor=0.9, fixed_ms=0.25).predict(genes)
    assert found.ms == pytest.approx(0.9 * np.array(by_hand(genes, MS)) + 0.25, rel=1e-12)
    assert found.basis == "table" and found.low.tolist() == found.ms.tolist()


def test_genes_without_effect_change_nothing():
    genes = SPACE.sample(np.random.default_rng(2), 2000)
    other = genes.copy()
    sam = SPACE.blocks(genes, 3)[0]
    other[sam == 0, SPACE.column(3, "kernels")] = 3
    assert (sam == 0).any()
    assert table().predict(other).ms.tolist() == table().predict(genes).ms.tolist()


def test_where_the_host_is_slower_its_time_counts():
    genes = SPACE.sample(np.random.default_rng(3), 200)
    host = np.full(len(MS), MS.mean())
    mine = table(host_ms=host, fixed_ms=1.0).predict(genes).ms - 1
    device, launch = INDEX.sums(MS, genes), INDEX.sums(host, genes)
    assert 0 < (device > launch).sum() < 200
    assert mine == pytest.approx(np.maximum(device, launch), rel=1e-12)


def test_a_host_and_a_device_share_a_forward():
    device, host = np.array([1.0, 10.0, 10.0, 10.0]), np.array([10.0, 1.0, 10.0, 0.0])
    ms = join_times(device, host)
    assert ms == pytest.approx([10.0, 10.0, 10 * 2**0.25, 10.0], rel=1e-3)
    assert (ms >= np.maximum(device, host)).all() and ms[3] == 10.0


def test_of_a_sheet_each_has_its_own_doubt():
    genes = SPACE.sample(np.random.default_rng(3), 50)
    joint = JointTimes(low=-0.1, high=0.1, host_half=0.5)
    waits = table(host_ms=100 * MS, factor=0.9, joint=joint).predict(genes)
    computes = table(host_ms=MS / 100, factor=0.9, joint=joint).predict(genes)
    assert waits.host_bound.all() and not computes.host_bound.any()
    for found, ms, half in ((waits, 100 * MS, 0.5), (computes, 0.9 * MS, 0.1)):
        assert found.ms == pytest.approx(INDEX.sums(ms, genes), rel=1e-6)
        assert np.log(found.high / found.ms) == pytest.approx(half, rel=1e-6)
        assert np.log(found.ms / found.low) == pytest.approx(half, rel=1e-6)


def test_networks_that_were_measured_correct_the_joint_time():
    joint = JointTimes(-0.1, 0.1, 0.5, Correction(1.5, -0.05, 0.05))
    ms, low, high = joint.predict(np.array([10.0]), np.array([2.0]))
    assert ms == pytest.approx([15.0], rel=1e-3)
    assert (low, high) == (pytest.approx(ms * np.exp(-0.05)), pytest.approx(ms * np.exp(0.05)))


def test_the_interval_widens_with_what_was_fitted():
    genes = SPACE.sample(np.random.default_rng(4), 100)
    fitted = np.where(np.arange(len(MS)) % 2, 0.3, 0.0)
    found = table(low=-0.04, high=0.05, spread=fitted).predict(genes)
    share = INDEX.sums(MS * (fitted > 0), genes) / INDEX.sums(MS, genes)
    assert np.log(found.high / found.ms) == pytest.approx(0.05 + 0.3 * share)
    assert np.log(found.low / found.ms) == pytest.approx(-0.04 - 0.3 * share)


def test_genes_of_another_space_are_refused():
    with pytest.raises(SpaceError, match="must be 0"):
        table().predict(np.full((1, len(SPACE.genes)), 63))


def test_50_000_architectures_a_second():
    """Some 700,000 on one quiet core: the margin is for busy ones."""
    genes = SPACE.sample(np.random.default_rng(5), 20_000)
    built = table(host_ms=MS, spread=MS)

    def seconds():
        start = time.process_time()
        built.predict(genes)
        return time.process_time() - start

    assert min(seconds() for _ in range(5)) < len(genes) / 50_000
