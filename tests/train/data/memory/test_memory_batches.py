"""Batches from memory: the plain loader's where nothing is drawn, else as often, and repeatable."""

import numpy as np
import pytest
import torch
from PIL import Image

from smt_nas.errors import TrainingError
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
from smt_nas.train.data.examples import ArrayExamples, Source
from smt_nas.train.data.memory.holding import HoldingOptions, hold_images
from smt_nas.train.data.sources import Splits
from smt_nas.train.recipe import Augment, EvalTransform, Recipe
from tests.fakes.images import Patchy, array, pixels

PLAIN = Augment(crop_scale=None, flip=0.0)
CPU = torch.device("cpu")


def source(mirrors=True):
    return Source("x", tuple("abcd"), None, None, None, mirrors, (0.3, 0.4, 0.5), (0.2, 0.3, 0.1))


def recipe(augment=PLAIN, **changes):
    direct = EvalTransform(resize="direct", interpolation="bilinear")
    return Recipe(epochs=1, augment=augment, **{"evaluation": direct} | changes)


def hold(train, how, validation=None, size=32, channels=3, seed=0, mirrors=True):
    splits = Splits(train, train if validation is None else validation)
    options = HoldingOptions(CPU, size, channels)
    return hold_images(splits, source(mirrors), how, seed, options)


def stream(held, order, start, stop, rank=0, limit=100):
    unreadable = UnreadableImages(limit)
    return list(held.training_batches(order, start, stop, rank, unreadable)), unreadable


def plain_stream(train, how, order, start, stop, size=32, channels=3, limit=100):
    unreadable = UnreadableImages(limit)
    transform = create_training_transform(how, size, channels, source())
    options = ReaderOptions(limit_unreadable=limit)
    batches = load_training_batches(train, transform, order, start, stop, 0, options, unreadable)
    return list(batches), unreadable


def plain_evaluation(examples, how, batch, rank=0, processes=1, channels=3):
    unreadable, own = UnreadableImages(100), source()
    transform = create_evaluation_transform(how.evaluation, 32, channels, own.mean, own.std)
    batches = load_evaluation_batches(
        examples, transform, batch, rank, processes, ReaderOptions(), unreadable
    )
    return list(batches), unreadable


def same(some, others):
    return len(some) == len(others) and all(
        torch.equal(a, b) and torch.equal(x, y) for (a, x), (b, y) in zip(some, others, strict=True)
    )


def steps(side, n=12, seed=0):
    """Images in which every pixel has another value: its place, and the image's number in blue."""
    rows, columns = np.mgrid[:side, :side]
    image = np.stack([rows, columns, np.zeros_like(rows)], axis=-1).astype(np.uint8)
    images = np.repeat(image[None], n, axis=0)
    images[..., 2] = np.arange(n)[:, None, None]
    return ArrayExamples(images, np.arange(n) % 4, f"steps {side}")


def to_bytes(images):
    """(B, 3, S, S) as the network takes them, back to bytes (B, S, S, 3)."""
    own = source()
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (own.mean, own.std))
    return ((images * std + mean) * 255).round().to(torch.int64).permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("channels", [None, 3], ids=["grey", "colour"])
@pytest.mark.parametrize("inputs", [1, 3])
@pytest.mark.parametrize("side", [8, 32, 45])
def test_batches_are_the_plain_loaders_where_nothing_is_drawn(channels, inputs, side):
    train, how = array(20, side, channels=channels), recipe()
    order = BatchSampler(20, 4, 1, 2, 3)
    held = hold(train, how, channels=inputs)
    assert same(
        stream(held, order, 1, 5)[0], plain_stream(train, how, order, 1, 5, channels=inputs)[0]
    )
    validation = list(held.evaluation_batches(6, 0, 1, UnreadableImages(0)))
    assert same(validation, plain_evaluation(train, how, 6, channels=inputs)[0])


def test_evaluation_resizes_the_short_side_and_takes_every_processs_share():
    how = recipe(evaluation=EvalTransform())
    validation = ArrayExamples(pixels(1, 11, 40, 50, 3), np.arange(11) % 4, "long")
    held = hold(array(20), how, validation)
    for rank in (0, 1):
        ours = list(held.evaluation_batches(2, rank, 2, UnreadableImages(0)))
        assert same(ours, plain_evaluation(validation, how, 2, rank, 2)[0])


def test_validation_images_may_be_of_several_sizes():
    """They are resized before they are held."""

    class Uneven:
        labels = np.arange(6) % 4

        def __len__(self):
            return 6

        def image(self, i):
            return Image.fromarray(pixels(i, 20 + i, 30, 3) if i % 2 else pixels(i, 9, 9))

        def name(self, i):
            return str(i)

    how = recipe()
    held = hold(Uneven(), how)
    assert same(
        list(held.evaluation_batches(4, 0, 1, UnreadableImages(0))),
        plain_evaluation(Uneven(), how, 4)[0],
    )
    order = BatchSampler(6, 2, 1, 1, 0)
    assert same(stream(held, order, 0, 3)[0], plain_stream(Uneven(), how, order, 0, 3)[0])


ALL = [
    Augment(crop_scale=None, padding=4, erasing=0.5),
    Augment(crop_scale=(0.2, 1.0), interpolation="random", erasing=0.5),
]


@pytest.mark.parametrize("augment", ALL, ids=["padded", "resized"])
@pytest.mark.parametrize("start", [1, 2, 3, 7])
def test_the_stream_goes_on_from_any_update_bit_by_bit(augment, start):
    train, how = array(24, 32, channels=3), recipe(augment)
    order = BatchSampler(24, 4, 1, 2, 3)  # 3 updates an epoch, 2 batches an update
    whole, _ = stream(hold(train, how, seed=3), order, 0, 9)
    assert same(stream(hold(train, how, seed=3), order, start, 9)[0], whole[2 * start :])
    assert not same(stream(hold(train, how, seed=4), order, start, 9)[0], whole[2 * start :])
    first, again = whole[0][0], whole[6][0]  # of two epochs
    assert not torch.equal(first, again)


def test_two_processes_draw_together_what_one_with_twice_the_batch_does():
    train, how = array(24, 32, channels=3), recipe(Augment(crop_scale=(0.2, 1.0)))
    held = hold(train, how)
    one, _ = stream(held, BatchSampler(24, 8, 1, 1, 0), 0, 3)
    two = [stream(held, BatchSampler(24, 4, 2, 1, 0), 0, 3, rank)[0] for rank in (0, 1)]
    joined = [(torch.cat([a, b]), torch.cat([x, y])) for (a, x), (b, y) in zip(*two, strict=True)]
    assert same(joined, one)


def test_padded_crops_are_parts_of_the_image_each_place_as_often():
    train, how = steps(32), recipe(Augment(crop_scale=None, padding=2, flip=0.5))
    order = BatchSampler(12, 12, 1, 1, 0)
    batches, _ = stream(hold(train, how), order, 0, 250)
    tops, lefts, flips = [], [], 0
    for update, (images, _) in enumerate(batches):
        for i, image in zip(order.indices(update, 0, 0), to_bytes(images), strict=True):
            middle = image[16, 16]
            assert middle[2] == i
            flipped = image[16, 15, 1] > image[16, 16, 1]
            flips += flipped
            top = middle[0] - 16 + 2
            left = (image[16, 15] if flipped else middle)[1] - 16 + 2
            tops.append(top)
            lefts.append(left)
            padded = np.pad(train.images[i], ((2, 2), (2, 2), (0, 0)))
            part = padded[top : top + 32, left : left + 32]
            assert np.array_equal(image, part[:, ::-1] if flipped else part)
    n = len(tops)
    for places in (tops, lefts):
        counts = np.bincount(places, minlength=5)
        assert len(counts) == 5 and np.abs(counts - n / 5).max() < 5 * np.sqrt(n / 5)
    assert abs(flips - n / 2) < 5 * np.sqrt(n / 4)


def test_nothing_is_mirrored_where_a_mirrored_image_is_of_another_class():
    train, how = steps(32), recipe(Augment(crop_scale=None, flip=1.0))
    order = BatchSampler(12, 4, 1, 1, 0)
    (images, _), *_ = stream(hold(train, how, mirrors=False), order, 0, 1)[0]
    assert np.array_equal(to_bytes(images), train.images[order.indices(0, 0, 0)])
    (images, _), *_ = stream(hold(train, how), order, 0, 1)[0]
    assert np.array_equal(to_bytes(images), train.images[order.indices(0, 0, 0)][:, :, ::-1])


def test_of_unequal_sides_every_part_may_be_taken():
    """Where only the short side is resized, a crop moves along the long one."""
    long = ArrayExamples(pixels(3, 12, 32, 48, 3), np.arange(12) % 4, "long")
    how = recipe(PLAIN, evaluation=EvalTransform(resize="center"))
    held = hold(long, how)
    assert (held.train.height, held.train.width) == (32, 48)
    order = BatchSampler(12, 12, 1, 1, 0)
    lefts = set()
    for update, (images, _) in enumerate(stream(held, order, 0, 20)[0]):
        for i, image in zip(order.indices(update, 0, 0), to_bytes(images), strict=True):
            (own,) = (x for x in range(17) if np.array_equal(long.images[i, :, x : x + 32], image))
            lefts.add(own)
    assert lefts == set(range(17))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest"])
@pytest.mark.parametrize("side", [24, 32, 50])
def test_resized_crops_are_pillows(interpolation, side):
    """The drawn part, cropped and resized by Pillow, within a byte or two of rounding.

    Of images without noise: Pillow clips between its passes, in an order that depends on the shape.
    """
    coarse = (Image.fromarray(pixels(i, 6, 6, 3)) for i in range(16))
    images = np.stack([np.asarray(image.resize((side, side))) for image in coarse])
    train = ArrayExamples(images, np.arange(16) % 4, "smooth")
    how = recipe(Augment(crop_scale=(0.1, 1.0), interpolation=interpolation))
    held, order = hold(train, how), BatchSampler(16, 16, 1, 1, 0)
    ((images, _),) = stream(held, order, 0, 1)[0]
    drawn = held.transform.draw(0, 16, side, side)
    filters = {"bilinear": 2, "bicubic": 3, "nearest": 0}
    for i, row, ours in zip(order.indices(0, 0, 0), drawn, to_bytes(images), strict=True):
        top, left, height, width, flip = row[:5]
        part = Image.fromarray(train.images[i, top : top + height, left : left + width])
        theirs = np.asarray(part.resize((32, 32), filters[interpolation])).astype(int)
        assert np.abs(ours - (theirs[:, ::-1] if flip else theirs)).max() <= 2


def test_resized_crops_are_drawn_as_often_as_timms():
    """Mean and spread of area, aspect and place, within five standard errors."""
    from timm.data.transforms import RandomResizedCropAndInterpolation as Crop

    how = Augment(crop_scale=(0.08, 1.0))
    held = hold(array(8, 40, channels=3), recipe(how))
    ours = np.concatenate([held.transform.draw(u, 500, 40, 60) for u in range(8)])[:, :4]
    image = Image.new("RGB", (60, 40))
    theirs = np.array([Crop.get_params(image, how.crop_scale, (3 / 4, 4 / 3)) for _ in range(4000)])
    theirs = theirs[:, [0, 1, 2, 3]]

    def describe(boxes):
        top, left, height, width = boxes.T.astype(float)
        return np.stack([top, left, height * width, np.log(width / height), height == 40])

    for a, b in zip(describe(ours), describe(theirs), strict=True):
        assert abs(a.mean() - b.mean()) < 5 * np.hypot(a.std(), b.std()) / np.sqrt(4000)
        assert a.std() == pytest.approx(b.std(), rel=0.1)


def test_erasing_is_as_often_and_as_large_as_timms():
    from timm.data.random_erasing import RandomErasing

    how = Augment(crop_scale=None, flip=0.0, erasing=0.4)
    train = ArrayExamples(np.zeros((50, 32, 32), np.uint8), np.arange(50) % 4, "black")
    order = BatchSampler(50, 50, 1, 1, 0)
    batches = stream(hold(train, recipe(how)), order, 0, 40)[0]
    black = batches[0][0].amin(dim=(0, 2, 3), keepdim=True)  # noise has all values
    black = -torch.tensor(source().mean).view(3, 1, 1) / torch.tensor(source().std).view(3, 1, 1)
    ours = torch.cat([(images[:, 0] != black[0]) for images, _ in batches]).float()
    timms = RandomErasing(0.4, mode="pixel", max_count=1, device="cpu")
    theirs = torch.cat([timms(torch.zeros(50, 1, 32, 32)) for _ in range(40)])[:, 0] != 0
    for measure in (lambda x: x.mean((1, 2)), lambda x: x.any(1).any(1).float()):
        a, b = measure(ours.float()), measure(theirs.float())
        assert abs(a.mean() - b.mean()) < 5 * torch.hypot(a.std(), b.std()) / 2000**0.5
    noise = torch.cat([images[:, 0][images[:, 0] != black[0]] for images, _ in batches])
    assert abs(noise.mean()) < 0.05 and abs(noise.std() - 1) < 0.05


@pytest.mark.parametrize("broken", [[0], [3, 4, 5], [19], [18, 19, 0]])
def test_unreadable_images_are_counted_and_replaced_as_by_the_plain_loader(broken):
    train, how = Patchy(array(20, 32), broken), recipe()
    order, held = BatchSampler(20, 5, 1, 1, 0), hold(train, how)
    for stop in (1, 2, 8):
        (ours, counted), (theirs, expected) = (
            stream(held, order, 0, stop),
            plain_stream(train, how, order, 0, stop),
        )
        assert same(ours, theirs)
        assert counted.names == expected.names
    own, expected = UnreadableImages(9), plain_evaluation(train, how, 4)
    assert same(list(held.evaluation_batches(4, 0, 1, own)), expected[0])
    assert own.names == expected[1].names


def test_more_unreadable_images_than_are_allowed_end_it():
    train = Patchy(array(20, 32), range(6))
    order = BatchSampler(20, 20, 1, 1, 0)
    with pytest.raises(TrainingError, match="at most 5 may be unreadable"):
        stream(hold(train, recipe()), order, 0, 1, limit=5)


def test_a_split_of_which_nothing_can_be_read():
    train = Patchy(array(4, 32), range(4))
    held = hold(train, recipe(), array(4, 32))
    with pytest.raises(TrainingError, match="none of the training split can be read"):
        stream(held, BatchSampler(4, 2, 1, 1, 0), 0, 1)
    assert (
        list(hold(array(4), recipe(), train).evaluation_batches(2, 0, 1, UnreadableImages(9))) == []
    )


def test_a_split_of_one_image():
    held = hold(array(1, 32), recipe(ALL[0]))
    ((images, labels),) = stream(held, BatchSampler(1, 1, 1, 1, 0), 0, 1)[0]
    assert images.shape == (1, 3, 32, 32) and labels.tolist() == [0]


def test_grey_and_coloured_images_in_one_split():
    class Mixed:
        labels = np.arange(6) % 4

        def __len__(self):
            return 6

        def image(self, i):
            return Image.fromarray(pixels(i, 32, 32) if i < 3 else pixels(i, 32, 32, 3))

        def name(self, i):
            return str(i)

    how, order = recipe(), BatchSampler(6, 3, 1, 1, 0)
    held = hold(Mixed(), how)
    assert held.train.pixels.shape[-1] == 3
    assert same(stream(held, order, 0, 4)[0], plain_stream(Mixed(), how, order, 0, 4)[0])


def test_mixing_batches_changes_no_image_in_memory():
    """timm's Mixup works in place."""
    from timm.data import Mixup

    train = array(8, 32, channels=3)
    held, order = hold(train, recipe()), BatchSampler(8, 4, 1, 1, 0)
    before, mix = held.train.rows.clone(), Mixup(cutmix_alpha=1.0, num_classes=4)
    for images, labels in held.training_batches(order, 0, 4, 0, UnreadableImages(0)):
        mix(images, labels)
    assert torch.equal(before, held.train.rows)
