"""From an image of any mode of Pillow's to 8 bits a channel, grey or RGB, by its range.

    L, RGB                       0 to 255: left as they are
    1                            black and white
    LA, La, PA, P, RGBA, RGBa,   the colour; transparency, and what fills RGBX, is dropped
      RGBX
    CMYK, YCbCr, HSV, LAB        converted to RGB
    I;16 in each byte order      0 to 65535, as PNG and TIFF of 16 bits; 0 to 4095 in a TIFF of 12
    I                            0 to 65535 where the file states 16 bits (PNG, PGM, TIFF); else by
                                 its values: up to 255 they are bytes, up to 65535 they have 16 bits
    F                            by its values: within 0..1 shares of white, within 0..255 bytes

Everything else is refused. A TIFF that states its smallest value is white is turned round, as
Pillow does with 8 bits. A range is taken from the values of one image only in modes I and F, where
files do not state it: an I of 32 bits whose brightest value is 255 or less is read as bytes, an F
with 1 or less as shares.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_COLOURS = frozenset(("P", "PA", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB", "RGBa"))
_GREYS = frozenset(("1", "LA", "La"))
_BITS_PER_SAMPLE, _PHOTOMETRIC = 258, 262  # tags of TIFF 6.0
_WHITE_IS_ZERO = 0
_STATED_16 = frozenset(("PNG", "PPM"))  # these have no other range in mode I


class UnknownRange(ValueError):
    """An image whose values do not say how bright they are."""


def to_bytes(image: Image.Image) -> Image.Image:
    """The image in mode L or RGB, see the head of this module.

    Raises:
        UnknownRange: its mode or its values have no known range.
    """
    mode = image.mode
    if mode in ("L", "RGB"):
        return image
    if mode in _GREYS:
        return _drop_alpha(image, "La", "LA").convert("L")
    if mode in _COLOURS:
        if mode == "P":  # else Pillow warns of transparency in a palette
            image = image.convert("RGBA")
        return _drop_alpha(image, "RGBa", "RGBA").convert("RGB")
    if mode.startswith("I;16"):
        bits = _read_tag(image, _BITS_PER_SAMPLE) or 16
        return _to_grey(image, np.asarray(image).astype(np.int64) >> (min(bits, 16) - 8))
    if mode == "I":
        return _to_grey(image, _scale_integers(image))
    if mode == "F":
        return _to_grey(image, _scale_floats(image))
    raise UnknownRange(f"mode {mode} has no known range; save it as RGB")


def _drop_alpha(image: Image.Image, premultiplied: str, plain: str) -> Image.Image:
    return image.convert(plain) if image.mode == premultiplied else image


def _scale_integers(image: Image.Image) -> NDArray[Any]:
    values = np.asarray(image).astype(np.int64)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise UnknownRange(
            f"mode I with values from {low} to {high}, which is neither 8 nor 16 bits; save it "
            "as 8 or 16 bits"
        )
    stated = image.format in _STATED_16 or _read_tag(image, _BITS_PER_SAMPLE) == 16
    return values >> 8 if stated or high > 255 else values


def _scale_floats(image: Image.Image) -> NDArray[Any]:
    values = np.asarray(image).astype(np.float64)
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 255):  # also where one is no number
        raise UnknownRange(
            f"mode F with values from {low:g} to {high:g}, neither within 0..1 nor 0..255; scale it"
        )
    return np.rint(values * 255 if high <= 1 else values)


def _to_grey(image: Image.Image, values: NDArray[Any]) -> Image.Image:
    if _read_tag(image, _PHOTOMETRIC) == _WHITE_IS_ZERO:
        values = 255 - values
    return Image.fromarray(values.astype(np.uint8))


def _read_tag(image: Image.Image, tag: int) -> int | None:
    """The first value of a tag, of an image that was read from a TIFF."""
    value = getattr(image, "tag_v2", {}).get(tag)
    if isinstance(value, tuple):
        value = value[0] if value else None
    return value if isinstance(value, int) else None
