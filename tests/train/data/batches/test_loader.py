"""Batches: the same bits from any update on, with any workers, whatever cannot be read."""

import itertools
import random

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from smt_nas.errors import TrainingError
from smt_nas.train.data.batches import loader
from smt_nas.train.data.batches.loader import (
    ReaderOptions,
    UnreadableImages,
    load_evaluation_batches,
    load_training_batches,
)
from smt_nas.train.data.batches.sampler import BatchSampler
from smt_nas.train.data.batches.transforms import (
    create_evaluation_transform,
    create_training_transform,
)
from smt_nas.train.data.examples import Source
from smt_nas.train.data.sources import load_source
from smt_nas.train.processes.randomness import preserve_generators
from smt_nas.train.recipe import Augment, EvalTransform, Recipe
from tests.fakes.images import Patchy, array, folder

SOURCE = Source("x", tuple("abcd"), None, None, None, mirrors=True)
AUGMENT = Augment(crop_scale=None, padding=2, auto_augment="rand-m9-mstd0.5", erasing=0.5)
TRAIN = create_training_transform(Recipe(epochs=1, augment=AUGMENT), 32, 3, SOURCE)
EVALUATE = create_evaluation_transform(EvalTransform(), 32, 3, SOURCE.mean, SOURCE.std)


def numbered(image):
    """A transform that tells which image it was given: its first byte."""
    return torch.full((1, 1, 1), float(image.getpixel((0, 0))))


def train(order, start, stop, rank=0, examples=None, transform=TRAIN, workers=0, unreadable=None):
    examples = examples or array(order.n)
    unreadable = unreadable or UnreadableImages(100)
    loading = ReaderOptions(workers, limit_unreadable=unreadable.limit)
    return load_training_batches(examples, transform, order, start, stop, rank, loading, unreadable)


def evaluate(examples, batch, rank=0, size=1, workers=0, limit=100, transform=EVALUATE):
    unreadable = UnreadableImages(limit)
    loading = ReaderOptions(workers, limit_unreadable=limit)
    found = load_evaluation_batches(examples, transform, batch, rank, size, loading, unreadable)
    return list(found), unreadable


def same(some, others):
    return len(some) == len(others) and all(
        torch.equal(a, b) and torch.equal(x, y) for (a, x), (b, y) in zip(some, others, strict=True)
    )


def test_batches_are_what_a_network_takes():
    examples = array(20)
    order = BatchSampler(20, 4, 1, 1, 0)
    found = list(train(order, 0, 5, examples=examples))
    assert len(found) == 5
    for update, (images, labels) in enumerate(found):
        assert images.shape == (4, 3, 32, 32) and images.dtype == torch.float32
        assert labels.dtype == torch.int64
        assert labels.tolist() == examples.labels[order.indices(update, 0, 0)].tolist()


@pytest.mark.parametrize("start", [1, 4, 5, 9])
def test_the_stream_goes_on_from_any_update_bit_by_bit(start):
    order = BatchSampler(20, 4, 1, 2, 3)  # 2 updates an epoch, 2 batches an update
    whole = list(train(order, 0, 10))
    assert len(whole) == 20
    assert same(list(train(order, start, 10)), whole[2 * start :])
    assert not same(list(train(BatchSampler(20, 4, 1, 2, 4), start, 10)), whole[2 * start :])


def test_two_processes_see_together_what_one_with_twice_the_batch_does():
    one = list(train(BatchSampler(24, 8, 1, 1, 0), 0, 6))
    two = [list(train(BatchSampler(24, 4, 2, 1, 0), 0, 6, rank)) for rank in (0, 1)]
    joined = [(torch.cat([a, b]), torch.cat([x, y])) for (a, x), (b, y) in zip(*two, strict=True)]
    assert same(joined, one)


def test_an_image_is_drawn_anew_in_every_epoch_and_by_nothing_but_its_key():
    examples = array(4)
    order = BatchSampler(4, 4, 1, 1, 0)
    epochs = list(train(order, 0, 2, examples=examples))
    places = [order.indices(epoch, 0, 0).tolist().index(2) for epoch in (0, 1)]
    assert not torch.equal(epochs[0][0][places[0]], epochs[1][0][places[1]])
    halves = BatchSampler(4, 2, 1, 1, 0)  # other batches, the same permutation
    split = torch.cat([images for images, _ in train(halves, 0, 2, examples=examples)])
    assert torch.equal(split, epochs[0][0])


def test_workers_change_nothing():
    """Real processes; they read ahead over the ends of epochs."""
    order = BatchSampler(12, 4, 1, 1, 7)
    examples = Patchy(array(12), {5})
    alone = list(train(order, 1, 6, examples=examples))
    for workers in (1, 2):
        unreadable = UnreadableImages(3)
        found = train(order, 1, 6, examples=examples, workers=workers, unreadable=unreadable)
        assert same(list(found), alone)
        assert list(unreadable.names) == ["file5.jpg"]
    assert same(evaluate(examples, 5, workers=2)[0], evaluate(examples, 5)[0])


def test_workers_are_started_once_and_end_with_the_iterator(monkeypatch):
    made = []

    class Counted(DataLoader):
        def __iter__(self):
            made.append(super().__iter__())
            return made[-1]

    monkeypatch.setattr(loader, "DataLoader", Counted)
    batches = train(BatchSampler(8, 4, 1, 1, 0), 0, 100, workers=1)
    for _ in itertools.islice(batches, 6):  # three epochs
        pass
    (worker,) = made[0]._workers
    assert worker.is_alive()
    batches.close()
    made.clear()
    assert not worker.is_alive()


def test_evaluation_draws_nothing_and_training_can_be_undone():
    with preserve_generators(torch.device("cpu")):
        torch.manual_seed(1)
        before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
        evaluate(array(6), 4)
        after = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    assert torch.equal(before[0], after[0]) and before[1:] == after[1:]


@pytest.mark.parametrize("size", [1, 2, 3])
def test_every_image_is_evaluated_once_by_one_process(size):
    examples = array(10)
    first = [examples.image(i).getpixel((0, 0)) for i in range(10)]
    for rank in range(size):
        found, _ = evaluate(examples, 4, rank, size, transform=numbered)
        images = torch.cat([images for images, _ in found]).flatten().tolist()
        assert images == first[rank::size]
        labels = torch.cat([labels for _, labels in found]).tolist()
        assert labels == examples.labels[rank::size].tolist()
        assert [len(labels) for _, labels in found[:-1]] == [4] * (len(found) - 1)


def test_more_processes_than_images():
    assert evaluate(array(2), 4, rank=2, size=3)[0] == []


def test_an_unreadable_training_image_is_replaced_by_the_next():
    plain = array(8)
    broken = Patchy(plain, {2, 3, 7})
    order, unreadable = BatchSampler(8, 8, 1, 1, 0), UnreadableImages(3)
    images, labels = next(
        train(order, 0, 3, examples=broken, transform=numbered, unreadable=unreadable)
    )
    stands = {2: 4, 3: 4, 7: 0}
    expected = [stands.get(i, i) for i in order.indices(0, 0, 0).tolist()]
    assert images.flatten().tolist() == [plain.image(i).getpixel((0, 0)) for i in expected]
    assert labels.tolist() == plain.labels[expected].tolist()
    assert sorted(unreadable.names) == ["file2.jpg", "file3.jpg", "file7.jpg"]
    assert unreadable.names["file2.jpg"] == "OSError: no image 2"


def test_an_unreadable_image_is_counted_once():
    unreadable = UnreadableImages(1)
    order = BatchSampler(4, 4, 1, 1, 0)
    list(train(order, 0, 5, examples=Patchy(array(4), {1}), unreadable=unreadable))
    assert len(unreadable.names) == 1


def test_over_the_limit_the_first_few_are_named():
    examples = Patchy(array(12), range(1, 8))
    for make in (
        lambda limit: list(
            train(
                BatchSampler(12, 12, 1, 1, 0),
                0,
                1,
                examples=examples,
                unreadable=UnreadableImages(limit),
            )
        ),
        lambda limit: evaluate(examples, 12, limit=limit),
    ):
        make(7)
        with pytest.raises(TrainingError) as raised:
            make(4)
        message = str(raised.value)
        assert message.startswith("images: at most 4 may be unreadable (got 7: file")
        assert "and 4 more" in message and "--max-unreadable N" in message


def test_no_readable_image_at_all():
    examples = Patchy(array(4), range(4))
    with pytest.raises(TrainingError, match=r"none of the training split can be read \(got 4"):
        list(train(BatchSampler(4, 2, 1, 1, 0), 0, 2, examples=examples))
    assert evaluate(examples, 2)[0] == []


def test_an_unreadable_image_is_left_out_of_evaluation():
    examples = Patchy(array(10), {0, 1, 2, 5})
    found, unreadable = evaluate(examples, 3)
    assert [labels.tolist() for _, labels in found] == [[3, 0], [2, 3, 0], [1]]
    assert [len(images) for images, _ in found] == [2, 3, 1]
    assert len(unreadable.names) == 4


def test_a_file_cut_off_is_unreadable(tmp_path):
    folder(tmp_path, {"a": 2, "b": 1})
    whole = (tmp_path / "a" / "1.jpg").read_bytes()
    (tmp_path / "a" / "1.jpg").write_bytes(whole[:-40])
    (tmp_path / "b" / "0.jpg").write_text("no image")
    found, unreadable = evaluate(load_source(str(tmp_path)).train, 3)
    assert [labels.tolist() for _, labels in found] == [[0]]
    assert list(unreadable.names) == [f"{tmp_path}/a/1.jpg", f"{tmp_path}/b/0.jpg"]
    assert "truncated" in unreadable.names[f"{tmp_path}/a/1.jpg"]


def test_an_error_of_a_transform_is_no_unreadable_image():
    def faulty(image):
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        evaluate(array(4), 2, transform=faulty)
