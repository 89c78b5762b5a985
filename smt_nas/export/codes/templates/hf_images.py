"""The images of an SMT for transformers, prepared as they were in its training."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image
from transformers.image_processing_backends import PilBackend
from transformers.image_utils import SizeDict


class SMTImageProcessor(PilBackend):
    """Resizes with Pillow and takes the middle, of odd margins the side that torchvision takes."""

    do_resize = True
    do_rescale = True
    do_normalize = True

    def process_image(self, image: Any, *args: Any, **kwargs: Any) -> np.ndarray:
        """One image as (C, H, W): grey where the network takes one channel."""
        if isinstance(image, Image.Image) and len(self.image_mean) == 1:
            image = image.convert("L")
        return super().process_image(image, *args, **kwargs)

    def center_crop(self, image: np.ndarray, size: SizeDict, **kwargs: Any) -> np.ndarray:
        """The middle of (C, H, W); half a pixel is rounded to even."""
        height, width = image.shape[-2:]
        top = round((height - size.height) / 2)
        left = round((width - size.width) / 2)
        return image[:, top : top + size.height, left : left + size.width]
