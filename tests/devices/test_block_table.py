"""Block tables: sums over parts, whichever the busier of device and host, fast."""

import time
from collections import Counter

import numpy as np
import pytest

from smt_nas import SearchSpace
from smt_nas.conditions import Conditions
from smt_nas.costs.parts import PartIndex, decompose
from smt_nas.devices.block_table import BlockTable
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
