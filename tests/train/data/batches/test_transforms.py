"""From an image of any kind to what a network takes."""

import io
import pickle
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from smt_nas.errors import ConfigError, TrainingError
from smt_nas.runtime.torchvision_ops import import_timm
from smt_nas.train.data.batches.transforms import (
    create_evaluation_transform,
    create_training_transform,
)
from smt_nas.train.data.examples import IMAGENET_MEAN, IMAGENET_STD, Source
from smt_nas.train.processes.randomness import seed_cpu
from smt_nas.train.recipe import Augment, EvalTransform, Recipe, load_recipe, recipe_names
from tests.fakes.images import jpeg, pixels

PHOTOS = Source("photos", ("a", "b"), None, None, None, mirrors=True)
FIGURES = Source("figures", ("a", "b"), None, None, None, mirrors=False)
PLAIN = Augment(crop_scale=None, padding=0, flip=0.0)
RGB = Image.fromarray(pixels(1, 40, 50, 3))
GREY = Image.fromarray(pixels(2, 28, 28))


def train(augment=PLAIN, size=32, channels=3, source=PHOTOS, evaluation=EvalTransform()):  # noqa: B008
    recipe = Recipe(epochs=1, augment=augment, evaluation=evaluation)
    return create_training_transform(recipe, size, channels, source)


def evaluate(size=32, channels=3, mean=IMAGENET_MEAN, std=IMAGENET_STD, **fields):
    return create_evaluation_transform(EvalTransform(**fields), size, channels, mean, std)


def drawn(transform, image, n=40):
    """What a transform makes of an image under n keys."""
    found = []
    for i in range(n):
        seed_cpu(0, i)
        found.append(transform(image))
    return found


def with_transparent_palette():
    image = GREY.convert("P")
    image.info["transparency"] = bytes(range(256))
    return image


def sixteen_bit():
    file = io.BytesIO()
    Image.fromarray(np.asarray(GREY).astype(np.uint16) << 8).save(file, "PNG")
    return Image.open(file)


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_gives_what_a_network_takes(name):
    recipe = load_recipe(name)
    for channels in (1, 3):
        for image in (RGB, GREY):
            seed_cpu(1)
            found = create_training_transform(recipe, 64, channels, PHOTOS)(image)
            assert found.shape == (channels, 64, 64) and found.dtype == torch.float32
            assert torch.isfinite(found).all()
            found = create_evaluation_transform(
                recipe.evaluation, 64, channels, PHOTOS.mean, PHOTOS.std
            )(image)
            assert found.shape == (channels, 64, 64) and found.dtype == torch.float32


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "image",
    [
        GREY.convert(m)
        for m in ("1", "L", "LA", "P", "PA", "RGBA", "RGBX", "CMYK", "YCbCr", "I", "F")
    ]
    + [with_transparent_palette(), Image.open(io.BytesIO(jpeg(0, mode="CMYK")))],
    ids=lambda image: image.mode,
)
def test_images_of_any_mode(image, channels):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = evaluate(channels=channels)(image)
    assert found.shape == (channels, 32, 32)
    assert not (found == found[0, 0, 0]).all()  # not clipped to one value


def test_sixteen_bits_of_grey_are_not_clipped():
    assert torch.equal(evaluate()(sixteen_bit()), evaluate()(GREY))


def test_a_grey_image_is_the_same_whenever_it_is_made_rgb():
    assert torch.equal(evaluate()(GREY), evaluate()(GREY.convert("RGB")))
    late, early = (drawn(train(Augment(flip=0.5)), i, 5) for i in (GREY, GREY.convert("RGB")))
    assert all(torch.equal(a, b) for a, b in zip(late, early, strict=True))


@pytest.mark.parametrize("image", [RGB, GREY.convert("RGB")], ids=["wide", "square"])
def test_evaluation_is_timms(image):
    import_timm()
    from timm.data import create_transform

    for fields, mode in (({"crop_pct": 0.8}, "center"), ({"resize": "direct"}, "squash")):
        theirs = create_transform(
            32, crop_mode=mode, crop_pct=fields.get("crop_pct", 1.0), interpolation="bicubic"
        )
        assert torch.equal(evaluate(**fields)(image), theirs(image))


def test_training_is_timms():
    import_timm()
    from timm.data import create_transform

    augment = Augment(auto_augment="rand-m9-mstd0.5-inc1", erasing=0.5, color_jitter=0.4)
    theirs = create_transform(
        32,
        is_training=True,
        auto_augment=augment.auto_augment,
        interpolation="bicubic",
        re_prob=0.5,
        re_mode="pixel",
    )
    for ours, their in zip(drawn(train(augment), RGB), drawn(theirs, RGB), strict=True):
        assert torch.equal(ours, their)


def test_without_randomness_training_is_evaluation():
    direct = EvalTransform(resize="direct", interpolation="bilinear")
    augment = PLAIN.model_copy(update={"interpolation": "bilinear"})
    found = train(augment, evaluation=direct)(RGB)
    assert torch.equal(found, evaluate(resize="direct", interpolation="bilinear")(RGB))


def test_the_padded_crop_moves_the_image_by_at_most_the_padding():
    image = Image.fromarray(np.full((32, 32), 255, np.uint8))
    augment = PLAIN.model_copy(update={"padding": 3})
    black = evaluate()(Image.new("L", (32, 32)))[:, 0, 0]
    places = set()
    for found in drawn(train(augment), image, 100):
        filled = (found != black[:, None, None]).all(0)
        rows, columns = np.flatnonzero(filled.any(1)), np.flatnonzero(filled.any(0))
        places.add((32 - len(rows), 32 - len(columns), int(rows[0]), int(columns[0])))
    assert max(max(place) for place in places) == 3
    assert len(places) > 20


def test_a_long_image_is_cropped_anywhere_where_evaluation_keeps_its_shape():
    image = Image.fromarray(np.tile(np.arange(64, dtype=np.uint8), (32, 1)))  # 64 wide
    lefts = {found[0, 0, 0].item() for found in drawn(train(), image, 200)}
    assert len(lefts) > 25
    direct = train(evaluation=EvalTransform(resize="direct"))
    assert len({found[0, 0, 0].item() for found in drawn(direct, image)}) == 1


def test_only_images_that_keep_their_class_are_mirrored():
    flipping = PLAIN.model_copy(update={"flip": 1.0})
    straight = train()(GREY)
    assert torch.equal(train(flipping)(GREY), straight.flip(2))
    assert torch.equal(train(flipping, source=FIGURES)(GREY), straight)
    cropped = Augment(crop_scale=(1.0, 1.0), flip=1.0)
    a, b = (drawn(train(cropped, source=s), GREY, 1)[0] for s in (PHOTOS, FIGURES))
    assert torch.equal(a, b.flip(2))


def test_a_random_interpolation_is_none_where_nothing_else_is_drawn():
    augment = PLAIN.model_copy(update={"interpolation": "random"})
    direct = EvalTransform(resize="direct")
    first, *others = drawn(train(augment, evaluation=direct), RGB, 4)
    assert all(torch.equal(first, other) for other in others)


def test_erasing_is_noise_of_its_own():
    image = Image.new("L", (32, 32), 128)
    erased = [x for x in drawn(train(PLAIN.model_copy(update={"erasing": 0.5})), image, 60)]
    touched = [x for x in erased if len(x.unique()) > 3]
    assert 15 < len(touched) < 45
    assert not torch.equal(touched[0][0], touched[0][1])  # channels differ


@pytest.mark.parametrize("policy", ["rand-m9-mstd0.5-inc1", "original", "augmix-m5-w4-d2", "3a"])
def test_policies_work_on_grey_networks_too(policy):
    for channels in (1, 3):
        for found in drawn(train(Augment(auto_augment=policy), channels=channels), GREY, 25):
            assert found.shape == (channels, 32, 32)


@pytest.mark.parametrize("policy", ["rand-z9", "randaugment", "no such", "original-q3"])
def test_a_policy_that_timm_does_not_know(policy):
    with pytest.raises(ConfigError) as raised:
        train(Augment(auto_augment=policy))
    assert f"must be a policy of timm (got {policy!r}" in str(raised.value)


def test_networks_of_other_channels_take_no_images():
    for make in (train, evaluate):
        with pytest.raises(TrainingError, match=r"in_channels: must be 3 .*got 4"):
            make(channels=4)


def test_grey_statistics_are_the_mean_of_the_channels():
    one = evaluate(channels=1, mean=(0.2, 0.4, 0.6), std=(0.1, 0.2, 0.3))(GREY)
    assert torch.equal(one, evaluate(channels=1, mean=(0.4,), std=(0.2,))(GREY))
    three = evaluate(mean=(0.4,), std=(0.2,))(GREY)
    assert torch.equal(three[1:2], one)


def test_transforms_go_to_workers():
    augment = Augment(auto_augment="rand-m9-mstd0.5-inc1", erasing=0.5)
    for transform in (train(augment), train(), evaluate()):
        copy = pickle.loads(pickle.dumps(transform))
        assert torch.equal(drawn(copy, RGB, 1)[0], drawn(transform, RGB, 1)[0])


@pytest.mark.parametrize("policy", ["rand-m10-mstd0-inc1", "originalr-mstd0.5"])
def test_policies_never_fail_on_an_image(policy):
    """Pillow 13 refuses to keep no bits, which timm's strongest posterising asks for."""
    transform = train(Augment(auto_augment=policy), size=32)
    assert all(torch.isfinite(found).all() for found in drawn(transform, RGB, 200))
