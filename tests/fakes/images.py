"""Small image files, arrays and splits made on the spot."""

import gzip
import io
import struct
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from smt_nas.train import dry_run, run
from smt_nas.train.data.batches.transforms import create_evaluation_transform
from smt_nas.train.data.examples import IMAGENET_MEAN, IMAGENET_STD, ArrayExamples, Subset
from smt_nas.train.data.sources import load_source
from smt_nas.train.recipe import EvalTransform


@contextmanager
def few_digits(every):
    """Trainings see one in `every` of the digits, where it does not matter what they learn."""
    whole = load_source("digits")
    few = replace(whole, train=Subset(whole.train, np.arange(0, len(whole.train), every)))
    with pytest.MonkeyPatch.context() as patch:
        for module in (run, dry_run):
            patch.setattr(module, "load_source", lambda spec: few)
        yield few


def eval_transform():
    """Of images to 32 px, as in an evaluation."""
    norm = (IMAGENET_MEAN, IMAGENET_STD)
    return create_evaluation_transform(EvalTransform(), 32, 3, *norm)


def pixels(seed, *shape):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def jpeg(seed=0, size=(12, 10), mode="RGB"):
    """Bytes of a JPEG; sizes are width, height."""
    file = io.BytesIO()
    shape = (size[1], size[0], len(mode)) if len(mode) > 1 else (size[1], size[0])
    Image.fromarray(pixels(seed, *shape), mode).save(file, "JPEG")
    return file.getvalue()


def folder(root, counts, size=(12, 10)):
    """Files `root/CLASS/0.jpg`, ... as many as `counts` says of each class."""
    for c, (name, count) in enumerate(counts.items()):
        (root / name).mkdir(parents=True)
        for i in range(count):
            (root / name / f"{i}.jpg").write_bytes(jpeg(100 * c + i, size))
    return root


def idx(values):
    """An array of bytes as an IDX file."""
    return (
        bytes([0, 0, 8, values.ndim])
        + struct.pack(f">{values.ndim}I", *values.shape)
        + (values.tobytes())
    )


def idx_set(root, compress=False, n=(20, 10), side=28, classes=10):
    """The four files of a set in MNIST's format."""
    root.mkdir(parents=True, exist_ok=True)
    for prefix, count in zip(("train", "t10k"), n, strict=True):
        labels = (np.arange(count) % classes).astype(np.uint8)
        for what, values in (
            ("images-idx3", pixels(count, count, side, side)),
            ("labels-idx1", labels),
        ):
            name, content = f"{prefix}-{what}-ubyte", idx(values)
            if compress:
                name, content = f"{name}.gz", gzip.compress(content)
            (root / name).write_bytes(content)
    return root


def array(n=40, side=8, classes=4, channels=None, title="test"):
    """A split in memory; every image differs from every other."""
    shape = (n, side, side) if channels is None else (n, side, side, channels)
    return ArrayExamples(pixels(n, *shape), np.arange(n) % classes, title)


class Patchy:
    """A split some of whose images cannot be read."""

    def __init__(self, examples, broken):
        self.examples, self.broken = examples, set(broken)
        self.labels = examples.labels

    def __len__(self):
        return len(self.examples)

    def image(self, i):
        if i in self.broken:
            raise OSError(f"no image {i}")
        return self.examples.image(i)

    def name(self, i):
        return f"file{i}.jpg"
