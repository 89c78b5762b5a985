"""What makes trainings of small networks faster, old against new: images/s, interleaved in one run.

    python -m benchmarks.training_speed data --cifar10 DIR --tiny-imagenet DIR
    python -m benchmarks.training_speed cpu --before CHECKOUT --cifar10 DIR

Each measurement is a table of pairs, the way it was done and the way it is done. The pairs take
turns round by round, so that what else the machine does slows both; the ratio is that of a round.
On a GPU whole trainings are compared: `python -m benchmarks.gpu --training` (`gpu_training`).
"""

from __future__ import annotations

import argparse
import atexit
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from smt_nas import __version__
from smt_nas.nasbench.depth_plan import list_ladders, list_targets
from smt_nas.runtime.environment import read_environment
from smt_nas.space import SearchSpace
from smt_nas.train.data.batches.loader import (
    ReaderOptions,
    UnreadableImages,
    load_training_batches,
)
from smt_nas.train.data.batches.sampler import BatchSampler
from smt_nas.train.data.batches.transforms import create_training_transform
from smt_nas.train.data.memory.holding import HoldingOptions, hold_images
from smt_nas.train.data.sources import load_source, make_splits
from smt_nas.train.recipe import Augment, EvalTransform, Recipe

ImagesPerSecond = Callable[[], float]
_PADDED = ("augment.padding=4", "augment.flip=0.5")


@dataclass(frozen=True)
class Pair:
    """Two ways to the same.

    Attributes:
        name: of what is measured.
        old: runs the way it was done for a moment; images/s.
        new: likewise, the way it is done.
    """

    name: str
    old: ImagesPerSecond
    new: ImagesPerSecond


@dataclass(frozen=True)
class _DataCase:
    """Images of one kind under one recipe."""

    name: str
    folder: str  # the option that names its files
    size: int
    augment: Augment


DATA_CASES = (
    _DataCase(
        "CIFAR-10, 32 px: pad 4, crop, flip",
        "cifar10",
        32,
        Augment(crop_scale=None, padding=4, interpolation="bilinear"),
    ),
    _DataCase(
        "Tiny ImageNet, 64 px: resized crop, flip",
        "tiny_imagenet",
        64,
        Augment(crop_scale=(0.35, 1.0), interpolation="bicubic"),
    ),
    _DataCase(
        "Tiny ImageNet, 64 px: the same and erasing",
        "tiny_imagenet",
        64,
        Augment(crop_scale=(0.35, 1.0), interpolation="bicubic", erasing=0.25),
    ),
)


def compare_data(options: argparse.Namespace) -> Iterator[Pair]:
    """Batches alone, on one core: read anew every epoch, and held in memory."""
    for case in DATA_CASES:
        folder = getattr(options, case.folder)
        if folder is not None:
            yield _compare_case(case, folder, options.batch, options.images)


def _compare_case(case: _DataCase, folder: str, batch: int, images: int) -> Pair:
    direct = EvalTransform(resize="direct", interpolation="bilinear")
    recipe = Recipe(epochs=1000, augment=case.augment, evaluation=direct, images=images)
    source = load_source(f"parquet:{folder}")
    splits = make_splits(source, recipe.validation, 0, recipe.images)
    sampler = BatchSampler(len(splits.train), batch, 1, 1, 0)
    last = recipe.epochs * sampler.updates_per_epoch
    unreadable = UnreadableImages(100)
    transform = create_training_transform(recipe, case.size, 3, source)
    read = load_training_batches(
        splits.train, transform, sampler, 0, last, 0, ReaderOptions(), unreadable
    )
    start = time.perf_counter()
    holding = HoldingOptions(torch.device("cpu"), case.size, 3)
    held = hold_images(splits, source, recipe, 0, holding)
    seconds = time.perf_counter() - start
    count = len(held.train) + len(held.validation)
    print(f"{case.name}: {count:,} images decoded once in {seconds:.1f} s", flush=True)
    made = held.training_batches(sampler, 0, last, 0, unreadable)
    return Pair(
        case.name,
        lambda: _measure_stream(read, 20),
        lambda: _measure_stream(made, 100),
    )


def _measure_stream(batches: Iterator[tuple[Tensor, Tensor]], count: int) -> float:
    """Images/s of so many batches."""
    start = time.perf_counter()
    images = sum(len(next(batches)[1]) for _ in range(count))
    return images / (time.perf_counter() - start)


def compare_cpu(options: argparse.Namespace) -> Iterator[Pair]:
    """Whole trainings on the CPU, one in each of two processes: an earlier checkout, and this."""
    if options.before is None or options.cifar10 is None:
        sys.exit("cpu: needs --before CHECKOUT and --cifar10 DIR.")
    folder = Path(tempfile.mkdtemp(prefix="training-speed-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    _write_folder(folder / "images", options.cifar10, options.images)
    space = SearchSpace.load("smt_small")
    low, _, high = list_targets(6e6, 20e6)
    for macs, blocks in ((low, 4), (low, 28), (high, 13)):
        (candidate,) = list_ladders(space, [macs], ["published"], [blocks])
        config = folder / f"{candidate[1].key}.yaml"
        config.write_text(candidate[1].to_yaml(), encoding="utf-8")
        train = partial(_train_twice, config, folder, options.batch)
        yield Pair(
            f"{macs / 1e6:.0f} MMACs, {blocks} blocks",
            partial(train, Path(options.before), []),
            partial(train, Path(__file__).resolve().parents[1], ["--fast"]),
        )


def _write_folder(folder: Path, parquet: str, images: int) -> None:
    """The first images of a data set as files of one class each, which earlier builds read too."""
    source = load_source(f"parquet:{parquet}")
    assert source.train is not None
    for i in range(images):
        place = folder / "train" / source.classes[source.train.labels[i]]
        place.mkdir(parents=True, exist_ok=True)
        source.train.image(i).save(place / f"{i}.jpg", quality=95)


def _train_twice(config: Path, folder: Path, batch: int, checkout: Path, more: list[str]) -> float:
    """Images/s of two processes together, as the trainings say it: without start and evaluation."""
    command = [sys.executable, "-m", "smt_nas", "train", str(config), "--json", "--recipe", "bench"]
    changes = ["epochs=1", "warmup_epochs=0", "images=null", "validation=0.1", *_PADDED]
    changes.append(f"batch_size={batch}")
    command += [part for change in changes for part in ("--set", change)]
    command += [*more, "--data", str(folder / "images"), "--device", "cpu", "--out"]
    environment = os.environ | {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    runs = [folder / "a", folder / "b"]
    trainings = [
        subprocess.Popen([*command, str(run)], env=environment, stdout=-1, stderr=-1, text=True)
        for run in runs
    ]
    speeds = list[float]()
    for training in trainings:
        out, error = training.communicate()
        if training.returncode:
            sys.exit(f"{checkout}: {error.strip()}")
        speeds.append(json.loads(out)["images_per_s"])
    for run in runs:
        shutil.rmtree(run)
    return sum(speeds)


MEASUREMENTS: Mapping[str, Callable[[argparse.Namespace], Iterable[Pair]]] = {
    "data": compare_data,
    "cpu": compare_cpu,
}
"""By the word on the command line."""


def print_table(pairs: Iterable[Pair], rounds: int) -> None:
    """Measure pairs in turn; print the median and the range of the rounds."""
    pairs = list(pairs)
    for pair in pairs:  # a first one of each that does not count
        pair.old(), pair.new()
    speeds = np.array([[(p.old(), p.new()) for p in pairs] for _ in range(rounds)])
    print(f"{'images/s, median (least to most)':44} {'old':>24} {'new':>24} {'new / old':>22}")
    for pair, own in zip(pairs, speeds.transpose(1, 2, 0), strict=True):
        old, new = (_format_range(values, ",.0f") for values in own)
        ratio = _format_range(own[1] / own[0], ".1f")
        print(f"{pair.name:44} {old:>24} {new:>24} {ratio:>22}", flush=True)


def _format_range(values: NDArray[np.float64], form: str) -> str:
    middle, low, high = (format(f(values), form) for f in (np.median, np.min, np.max))
    return f"{middle} ({low} to {high})"


def print_machine(threads: int) -> None:
    """What the figures are of."""
    stamp = read_environment("cuda" if torch.cuda.is_available() else "cpu")
    load = " ".join(f"{x:.1f}" for x in os.getloadavg())
    print(
        f"{stamp['gpu'] or stamp['cpu']}, {os.cpu_count()} cores, {threads} of them used; load "
        f"{load}; smt-nas {__version__}, torch {torch.__version__}, Python "
        f"{platform.python_version()}",
        flush=True,
    )


def main() -> None:
    """Run the measurements that are named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("measurements", nargs="+", choices=MEASUREMENTS)
    parser.add_argument("--cifar10", help="folder of CIFAR-10 as Parquet files")
    parser.add_argument("--tiny-imagenet", help="folder of Tiny ImageNet, or a part, likewise")
    parser.add_argument("--before", help="an earlier checkout")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--images", type=int, default=20_000, help="of each data set")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1, help="of the CPU")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print_machine(options.threads)
    for name in options.measurements:
        print(f"\n{name}")
        print_table(MEASUREMENTS[name](options), options.rounds)
    print_machine(options.threads)


if __name__ == "__main__":
    main()
