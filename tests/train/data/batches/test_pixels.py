"""Pixels of every mode of Pillow's, by the range of their values."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from smt_nas.train.data.batches.loader import (
    ReaderOptions,
    UnreadableImages,
    load_evaluation_batches,
)
from smt_nas.train.data.batches.pixels import UnknownRange, to_bytes
from smt_nas.train.data.batches.transforms import create_evaluation_transform
from smt_nas.train.recipe import EvalTransform
from tests.fakes.images import Patchy, array

GREY = np.linspace(10, 240, 64).astype(np.uint8).reshape(8, 8)
COLOUR = np.stack([GREY, GREY[::-1], 255 - GREY], axis=2)
PLAIN, RGB = Image.fromarray(GREY), Image.fromarray(COLOUR)


def through(format, image, **options):
    """Written to a file and read from it."""
    file = io.BytesIO()
    image.save(file, format, **options)
    file.seek(0)
    read = Image.open(file)
    read.load()
    return read


def values(image):
    out = to_bytes(image)
    assert out.mode in ("L", "RGB")
    return np.asarray(out).astype(int)


def tiff(samples, photometric=1, sample_format=1):
    """A TIFF of one strip, little endian, whatever Pillow itself can write."""
    bits = samples.dtype.itemsize * 8
    data = samples.tobytes()
    h, w = samples.shape
    tags = [(256, w), (257, h), (258, bits), (259, 1), (262, photometric), (273, 8), (277, 1)]
    tags += [(278, h), (279, len(data)), (339, sample_format)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    file = io.BytesIO(b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory)
    image = Image.open(file)
    image.load()
    return image


WIDE = GREY.astype(np.uint16) * 257
SAME = {
    "L": PLAIN,
    "LA": PLAIN.convert("LA"),
    "I;16 of a PNG": through("PNG", Image.fromarray(WIDE)),
    "I;16 of a TIFF": through("TIFF", Image.fromarray(WIDE)),
    "I;16B": Image.frombytes("I;16B", (8, 8), WIDE.astype(">u2").tobytes()),
    "I of bytes": PLAIN.convert("I"),
    "I of 16 bits": Image.fromarray(WIDE.astype(np.int32)),
    "I of a PGM of 16 bits": through("PPM", Image.fromarray(WIDE.astype(np.int32))),
    "I of a TIFF of 32 bits": through("TIFF", Image.fromarray(WIDE.astype(np.int32))),
    "F of bytes": PLAIN.convert("F"),
    "F of shares": Image.fromarray((GREY / 255).astype(np.float32)),
    "F of a TIFF": through("TIFF", Image.fromarray((GREY / 255).astype(np.float32))),
    "white is zero": tiff(65535 - WIDE, photometric=0),
    "white is zero, of shares": tiff((1 - GREY / 255).astype("<f4"), 0, 3),
}


@pytest.mark.parametrize("image", SAME.values(), ids=SAME.keys())
def test_grey_of_every_depth_is_the_same_picture(image):
    assert np.abs(values(image) - GREY).max() <= 1


@pytest.mark.parametrize(
    "mode", ["RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB", "RGBa", "P", "PA", "1", "La"]
)
def test_modes_of_colour_keep_their_colours(mode):
    middle = {"RGBa": "RGBA", "La": "LA", "PA": "P"}.get(mode)
    image = (RGB.convert(middle) if middle else RGB).convert(mode)
    far = {"P": 60, "PA": 60, "1": 255, "YCbCr": 4, "HSV": 8, "LAB": 25}.get(mode, 2)
    found = values(image)
    wanted = COLOUR if found.ndim == 3 else np.asarray(RGB.convert("L"))
    assert np.abs(found - wanted).max() <= far
    assert abs(found.mean() - wanted.mean()) < 8


def test_transparent_pixels_keep_the_colour_below():
    image = PLAIN.convert("P")
    image.info["transparency"] = bytes(range(256))
    assert np.array_equal(values(image)[..., 0], GREY)


def test_a_dark_picture_of_16_bits_stays_dark():
    dark = np.full((8, 8), 200, np.int32)
    assert values(through("PPM", Image.fromarray(dark))).max() == 0
    assert values(through("PNG", Image.fromarray(dark.astype(np.uint16)))).max() == 0


def test_a_tiff_of_12_bits_has_4095_for_white():
    image = Image.fromarray(GREY.astype(np.uint16) * 16)
    image.tag_v2 = {258: (12,)}  # Pillow reads such files and writes none
    assert np.array_equal(values(image), GREY)


@pytest.mark.parametrize(
    ("image", "told"),
    [
        (Image.fromarray(np.array([[-5, 9]], np.int32)), "mode I with values from -5 to 9"),
        (Image.fromarray(np.array([[0, 70000]], np.int32)), "mode I with values from 0 to 70000"),
        (Image.fromarray(np.array([[-0.5, 1]], np.float32)), "mode F with values from -0.5 to 1"),
        (Image.fromarray(np.array([[0, 4095]], np.float32)), "mode F with values from 0 to 4095"),
        (Image.fromarray(np.array([[0, np.nan]], np.float32)), "mode F with values from nan"),
    ],
)
def test_values_without_a_range_are_refused(image, told):
    with pytest.raises(UnknownRange, match=told):
        to_bytes(image)


def test_refused_images_are_counted_by_name():
    class Odd(Patchy):
        def image(self, i):
            image = super().image(i)
            return Image.fromarray(np.full((8, 8), -1, np.int32)) if i == 2 else image

    unreadable = UnreadableImages(5)
    transform = create_evaluation_transform(EvalTransform(), 32, 3, (0.5,) * 3, (0.5,) * 3)
    batches = load_evaluation_batches(
        Odd(array(6), [4]), transform, 6, 0, 1, ReaderOptions(), unreadable
    )
    assert sum(len(labels) for _, labels in batches) == 4
    assert list(unreadable.names) == ["file2.jpg", "file4.jpg"]
    assert "mode I with values from -1" in unreadable.names["file2.jpg"]
