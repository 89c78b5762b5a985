"""Which images make up which step, by key alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smt_nas.errors import TrainingError
from smt_nas.train.data.batches.sampler import BatchSampler

small = st.integers(1, 4)


@given(st.integers(1, 3), small, small, small, st.integers(0, 2**62), st.integers(0, 20))
def test_an_epoch_sees_each_image_at_most_once(epochs, batch, size, accumulation, seed, extra):
    images = batch * size * accumulation
    order = BatchSampler(3 * images + extra, batch, size, accumulation, seed)
    for epoch in range(epochs):
        updates = range(epoch * order.updates_per_epoch, (epoch + 1) * order.updates_per_epoch)
        seen = [
            i
            for update in updates
            for micro in range(accumulation)
            for rank in range(size)
            for i in order.indices(update, micro, rank).tolist()
        ]
        assert len(seen) == len(set(seen)) == order.updates_per_epoch * images
        assert set(seen) <= set(range(order.n))
        assert order.n - len(seen) < images


@given(small, small, st.integers(0, 99), st.integers(0, 30))
def test_processes_and_steps_divide_what_one_would_take(batch, many, seed, update):
    """Two processes see together what one does with twice the batch; so do two steps."""
    n = 5 * batch * many + 1
    one = BatchSampler(n, batch * many, 1, 1, seed).indices(update, 0, 0)
    ranks = BatchSampler(n, batch, many, 1, seed)
    micros = BatchSampler(n, batch, 1, many, seed)
    parts = ([ranks.indices(update, 0, k) for k in range(many)],)
    parts += ([micros.indices(update, k, 0) for k in range(many)],)
    for part in parts:
        assert np.array_equal(np.concatenate(part), one)


def test_epochs_and_seeds_differ_and_repeat():
    order = BatchSampler(60, 6, 1, 1, 5)
    first = [order.indices(u, 0, 0).tolist() for u in range(10)]
    assert [order.indices(u, 0, 0).tolist() for u in range(10)] == first
    assert [order.indices(u, 0, 0).tolist() for u in range(10, 20)] != first
    assert [BatchSampler(60, 6, 1, 1, 6).indices(u, 0, 0).tolist() for u in range(10)] != first
    assert order.indices(0, 0, 0).dtype == np.int64


def test_the_order_of_a_seed_does_not_change_between_versions():
    """A training goes on from its update number alone."""
    assert BatchSampler(12, 4, 1, 1, 0).indices(4, 0, 0).tolist() == [6, 3, 4, 10]


def test_keys_are_those_of_every_step_in_turn():
    order = BatchSampler(10, 2, 2, 2, 0)  # one update an epoch
    keys = list(order.batches(1, 3, rank=1))
    assert [epoch for batch in keys for epoch, _ in batch] == [1] * 4 + [2] * 4
    assert [[i for _, i in batch] for batch in keys] == [
        order.indices(update, micro, 1).tolist() for update in (1, 2) for micro in (0, 1)
    ]
    assert list(order.batches(3, 3, 0)) == []


@pytest.mark.parametrize(
    ("n", "size", "way"),
    [(40, 1, "--set batch_size=40"), (41, 2, "--set batch_size=20"), (1, 1, "fewer processes")],
)
def test_fewer_images_than_an_update_takes(n, size, way):
    with pytest.raises(TrainingError) as raised:
        BatchSampler(n, 64, size, 1, 0)
    assert f"(got {n} images). Try {way}" in str(raised.value)
