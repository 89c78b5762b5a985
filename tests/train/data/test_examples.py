"""Images by index, whole or not at all."""

import io
import pickle
import warnings

import numpy as np
import pytest
from PIL import Image

from smt_nas.train.data.examples import ArrayExamples, Subset, compute_statistics, decode_image
from tests.fakes.images import Patchy, array, jpeg, pixels


def test_an_array_gives_its_images_labels_and_names():
    images = pixels(0, 3, 5, 4, 3)
    examples = ArrayExamples(images, np.array([2, 0, 1]), "svhn:x train")
    assert len(examples) == 3
    assert examples.image(1).size == (4, 5)
    assert np.array_equal(np.asarray(examples.image(1)), images[1])
    assert examples.name(1) == "svhn:x train image 1"


def test_a_version_is_of_the_images_the_labels_and_the_order():
    images, labels = pixels(0, 4, 5, 4), np.array([0, 1, 0, 1])
    whole = ArrayExamples(images, labels, "x")
    others = [
        ArrayExamples(images[::-1], labels, "x"),
        ArrayExamples(images, 1 - labels, "x"),
        ArrayExamples(images.reshape(4, 4, 5), labels, "x"),
        *(Subset(whole, np.array(indices)) for indices in ([0, 1], [1, 0], [0, 2])),
        Subset(Subset(whole, np.array([3, 2, 1, 0])), np.array([3, 2])),
    ]
    versions = [x.version() for x in (whole, *others)]
    assert len(set(versions)) == len(versions)
    assert ArrayExamples(images.copy(), labels, "y").version() == whole.version()
    assert Subset(Patchy(whole, []), np.array([0])).version() is None  # that has none


def test_a_subset_is_seen_through_its_indices():
    whole = array(10)
    part = Subset(whole, np.array([7, 2]))
    assert len(part) == 2
    assert part.labels.tolist() == whole.labels[[7, 2]].tolist()
    assert part.image(0).tobytes() == whole.image(7).tobytes()
    assert part.name(1) == "test image 2"
    assert pickle.loads(pickle.dumps(part)).image(1).tobytes() == whole.image(2).tobytes()


def test_an_image_is_decoded_whole_and_its_file_closed(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg(3))
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        image = decode_image(path)
    assert image.size == (12, 10)
    assert np.asarray(image).shape == (10, 12, 3)


@pytest.mark.parametrize(
    "content",
    [b"", b"not an image", jpeg(1, (64, 64))[:-300], b"\x89PNG\r\n\x1a\n" + bytes(40)],
    ids=["empty", "text", "cut off", "broken png"],
)
def test_what_cannot_be_read_whole_is_refused(content):
    with pytest.raises((OSError, ValueError)):
        decode_image(io.BytesIO(content))


def test_what_a_decoder_trips_over_is_a_value_error(monkeypatch):
    def broken(file):
        raise SyntaxError("not a TIFF file")

    monkeypatch.setattr(Image, "open", broken)
    with pytest.raises(ValueError, match="SyntaxError: not a TIFF file"):
        decode_image(io.BytesIO(b""))


@pytest.mark.parametrize("n", [3, 2100])
def test_statistics_are_those_of_all_pixels(n):
    images = pixels(n, n, 4, 5, 3)
    mean, std = compute_statistics(images)
    assert mean == pytest.approx(images.mean(axis=(0, 1, 2)) / 255)
    assert std == pytest.approx(images.std(axis=(0, 1, 2)) / 255)


def test_grey_statistics_are_repeated_and_a_blank_set_has_no_zero_deviation():
    mean, std = compute_statistics(pixels(0, 6, 4, 4))
    assert len(mean) == len(std) == 3
    assert len(set(mean)) == len(set(std)) == 1
    assert compute_statistics(np.full((2, 3, 3), 255, np.uint8)) == ((1.0,) * 3, (1 / 255,) * 3)
