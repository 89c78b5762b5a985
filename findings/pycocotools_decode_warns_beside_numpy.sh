#!/usr/bin/env bash
# pycocotools 2.0.11, numpy 2.4.6, Python 3.11
#
# pycocotools.mask.decode, and with it COCO.annToMask, warns at every call:
#
#     DeprecationWarning: __array__ implementation doesn't accept a copy keyword, so passing copy=False failed.
#
# though the mask that comes back is right. pycocotools hands numpy its own array type, whose __array__
# takes no `copy`; it is the newest release of November 2026.
#
# Why it matters: a test suite that turns warnings into errors fails in a call that has no other
# spelling, and an evaluation of segmenters logs the line. It is to be silenced at the call.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pycocotools==2.0.11 numpy==2.4.6

"$folder/venv/bin/python" - <<'PYTHON'
import warnings

import numpy as np
import pycocotools.mask

square = np.zeros((4, 5), np.uint8, order="F")
square[1:3, 2:4] = 1
encoded = pycocotools.mask.encode(square)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    decoded = pycocotools.mask.decode(encoded)
assert (decoded == square).all(), "the mask is another one"
for warning in caught:
    print(f"{warning.category.__name__}: {warning.message}")
assert any("__array__" in str(w.message) for w in caught), "it does not warn any more"
PYTHON
