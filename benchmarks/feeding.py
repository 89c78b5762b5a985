"""How long a training step waits for images: our loader on a folder of JPEGs, by its workers.

Part of `train.py`. The images are made here, about as heavy as ImageNet's; the transforms are those
of the recipe `imagenet1k`.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from smt_nas.train.data.batches.loader import ReaderOptions, UnreadableImages, load_training_batches
from smt_nas.train.data.batches.sampler import BatchSampler
from smt_nas.train.data.batches.transforms import create_training_transform
from smt_nas.train.data.examples import Source
from smt_nas.train.data.sources import load_source
from smt_nas.train.recipe import load_recipe

SIZE, IMAGES = 224, 512
Update = Callable[[Tensor, Tensor], None]


def table(step: Update, device: torch.device, batch: int, steps: int) -> None:
    """Print how the loader keeps up with a step on images (B, 3, H, W) and labels (B,)."""
    print(f"\nour step fed by our loader: batch {batch}, {device.type}, transforms of imagenet1k")
    print(f"{'workers':>7} {'loader alone img/s':>18} {'fed step img/s':>14} {'time waiting':>12}")
    most = {os.cpu_count() or 1} if device.type == "cuda" else set()
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder), IMAGES)
        source = load_source(folder)
        for workers in sorted({0, 1, 2} | most):
            alone = rate(batches(source, batch, 3 * steps, workers), skipped=2 * steps)
            fed, share = waiting(batches(source, batch, steps, workers), step, device)
            print(f"{workers:7} {alone:18.1f} {fed:14.1f} {100 * share:10.1f} %", flush=True)


def write_images(folder: Path, n: int) -> None:
    """An image folder of n JPEGs of 500 x 375 and about 110 kB, as ImageNet's are on average."""
    draw = np.random.default_rng(0)
    for i in range(n):
        to = folder / "train" / f"class{i % 8}"
        to.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(draw.integers(0, 256, (25, 34, 3), dtype=np.uint8))
        shapes = np.asarray(coarse.resize((500, 375), Image.Resampling.BICUBIC), np.float32)
        grain = draw.normal(0, 10, shapes.shape)
        pixels = np.clip(shapes + grain, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(to / f"{i}.jpg", quality=88)


def batches(
    source: Source, batch: int, steps: int, workers: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """So many training batches."""
    assert source.train is not None
    order = BatchSampler(n=len(source.train), batch=batch, size=1, accumulation=1, seed=0)
    transform = create_training_transform(load_recipe("imagenet1k"), SIZE, 3, source)
    loading = ReaderOptions(workers=workers, pin=torch.cuda.is_available())
    return load_training_batches(
        source.train,
        transform,
        order,
        0,
        steps,
        0,
        loading,
        UnreadableImages(loading.limit_unreadable),
    )


def rate(batches: Iterator[tuple[Tensor, Tensor]], skipped: int) -> float:
    """Images per second, after the batches in which workers start and read ahead."""
    for _ in range(skipped):
        next(batches)
    start = time.perf_counter()
    images = sum(len(x) for x, _ in batches)
    return images / (time.perf_counter() - start)


def waiting(
    batches: Iterator[tuple[Tensor, Tensor]], step: Update, device: torch.device
) -> tuple[float, float]:
    """Images per second of a step that is fed, and the share of the time in which it waits."""
    next(batches)  # workers have started
    waited, images, start = 0.0, 0, time.perf_counter()
    since = start
    for x, y in batches:
        waited += time.perf_counter() - since
        step(x.to(device, non_blocking=True), y.to(device, non_blocking=True))
        images += len(x)
        since = time.perf_counter()
    total = time.perf_counter() - start
    return images / total, waited / total
