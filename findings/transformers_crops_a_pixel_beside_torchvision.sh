#!/usr/bin/env bash
# transformers 5.24.0, Pillow 13.0.0, Python 3.11
#
# The image processors of transformers take the middle of an image from (size - crop) // 2 on.
# torchvision, with which most networks are trained, takes it from round((size - crop) / 2) on
# (pytorch/vision, transforms/functional.py, center_crop), and Python rounds 9.5 to 10, 10.5 to 10.
# So one width in four is cropped a pixel further to the left, and one height in four further up:
#
#     margin 4: both from 2
#     margin 5: both from 2
#     margin 6: both from 3
#     margin 7: transformers from 3, torchvision from 4
#
# Why it matters: an exported image processor "with the same numbers" does not prepare images as the
# training did. The values differ by anything, as every pixel is its neighbour; the accuracy hardly.
# A check on one image passes three times in four. A processor of one's own (trust_remote_code) that
# rounds as torchvision does is equal bit for bit, on the Pillow backend: the torchvision backend,
# which is the default, resizes bytes with other rounding (1 of 255).
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    transformers==5.24.0 Pillow==13.0.0 numpy==2.4.6

HF_HUB_OFFLINE=1 "$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
from PIL import Image
from transformers import CLIPImageProcessorPil

CROP = 32
processor = CLIPImageProcessorPil(
    do_resize=False,
    do_center_crop=True,
    crop_size={"height": CROP, "width": CROP},
    do_rescale=False,
    do_normalize=False,
)
starts = {}
for margin in (4, 5, 6, 7):
    columns = np.arange(CROP + margin, dtype=np.uint8)  # each pixel is the number of its column
    image = Image.fromarray(np.broadcast_to(columns[None, :, None], (CROP, CROP + margin, 3)).copy())
    cropped = processor(image, return_tensors="np")["pixel_values"][0]
    starts[margin] = int(cropped[0, 0, 0]), round(margin / 2)
    theirs, usual = starts[margin]
    what = f"both from {usual}" if theirs == usual else f"transformers from {theirs}, torchvision from {usual}"
    print(f"margin {margin}: {what}")
assert starts == {4: (2, 2), 5: (2, 2), 6: (3, 3), 7: (3, 4)}, starts
PYTHON
