"""How far a supernet's ranking can be trusted, against networks that were really trained.

python -m benchmarks.supernet --data fashion-mnist:DIR --out DIR [--minutes 20 | --steps N]

Trains two supernets (seeds 0 and 1) for the networks of smt_micro with 2 to 20 MMACs, and a third
on shuffled labels a quarter as long; rates the networks of SMT-Bench-mini in that range by each;
rates some with batch norms calibrated on 64 to 8192 images; trains ten on from inherited weights
and from scratch. Figures go to CSVs in --out as they come, and what is there is not made again:
with --seconds it stops after so many and is called again. With everything there, it prints the
tables. Seconds are those that a core worked; --steps is for a machine that does other work
meanwhile, and --supernet for one process each.
"""

from __future__ import annotations

import argparse
import csv
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.supernet_tables import CURVE, LEARNING, RATINGS, TRAININGS, show_tables
from smt_nas.arch import Architecture
from smt_nas.conditions import Conditions
from smt_nas.evaluators.predictors.training_set import TrainingSet
from smt_nas.evaluators.published_agreement import BENCH
from smt_nas.evaluators.supernet import (
    Supernet,
    SupernetOptions,
    SupernetRunOptions,
    load_supernet,
    train_supernet,
)
from smt_nas.files import append_synced
from smt_nas.nasbench.table import Bench, load_bench
from smt_nas.runtime.allocator import keep_freed_memory
from smt_nas.runtime.progress import NullProgress, TrainingStatus
from smt_nas.runtime.torch_settings import apply_torch_settings
from smt_nas.space import SearchSpace
from smt_nas.train.data.examples import Examples, IntArray, Source
from smt_nas.train.data.sources import load_source
from smt_nas.train.processes.process_group import join_process_group
from smt_nas.train.run import start_training
from smt_nas.train.train_config import RunOptions, TrainRequest
from smt_nas.train.weights.checkpoint import save_weights

SPACE, RANGE = "smt_micro", (2e6, 20e6)
SHUFFLED = "shuffled"
SUPERNETS = {"0": (0, 1.0), "1": (1, 1.0), SHUFFLED: (0, 0.25)}
CALIBRATION = (64, 125, 250, 500, 1000, 2000, 4000, 8192)
COLUMNS = {
    TRAININGS: "supernet,steps,seconds",
    RATINGS: "supernet,key,loss,top1,seconds,least_share",
    CURVE: "key,images,loss,top1,seconds",
    LEARNING: "key,start,top1,loss,seconds",
}


class Clock(NullProgress):
    """Asks a training to stop, and a loop to end, after so many seconds."""

    def __init__(self, seconds: float | None) -> None:
        self.end = float("inf") if seconds is None else time.monotonic() + seconds
        self._has_stopped = False

    @property
    def is_over(self) -> bool:
        """Whether it is time to stop."""
        return time.monotonic() > self.end

    def say(self, text: str) -> None:
        """Print it."""
        print(text, file=sys.stderr, flush=True)

    def update(self, status: TrainingStatus) -> None:
        """Stop the training once; its checkpoint is of that moment."""
        if status.done % 50 == 0:
            self.say(f"{status.done} of {status.total} steps, loss {status.loss}")
        if self.is_over and not self._has_stopped:
            self._has_stopped = True
            os.kill(os.getpid(), signal.SIGTERM)


@dataclass(frozen=True)
class Relabelled:
    """Images with other labels."""

    examples: Examples
    labels: IntArray

    def __len__(self) -> int:
        return len(self.labels)

    def image(self, i: int) -> object:
        """The image."""
        return self.examples.image(i)

    def name(self, i: int) -> str:
        """Its name."""
        return self.examples.name(i)


def shuffle_labels(source: Source) -> Source:
    """The data set with the training labels in a random order."""
    assert source.train is not None
    labels = np.random.default_rng(0).permutation(source.train.labels)
    return replace(source, train=Relabelled(source.train, labels), validation=None)  # type: ignore[arg-type]


def parse_arguments() -> argparse.Namespace:
    """What is to be done."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=20.0, help="of each supernet's training")
    parser.add_argument("--steps", type=int, help="instead of --minutes")
    parser.add_argument("--seconds", type=float, help="stop after so many; call it again")
    parser.add_argument("--networks", type=int, help="rate only so many")
    parser.add_argument("--learners", type=int, default=10, help="networks that are trained on")
    parser.add_argument("--epochs", type=int, default=1, help="that they are trained on for")
    parser.add_argument("--curve", type=int, default=6, help="networks of the calibration curve")
    parser.add_argument("--set", action="append", default=[], help="of the supernets' recipe")
    parser.add_argument("--supernet", choices=SUPERNETS, help="train and rate by this one alone")
    parser.add_argument("--part", choices=["train", "rate", "curve", "learn", "show"])
    return parser.parse_args()


def select_networks(bench: Bench, n: int | None) -> list[Architecture]:
    """Networks of the bench that are of the space and the range of MACs."""
    space, data = SearchSpace.load(SPACE), TrainingSet.of(bench)
    inside = space.contains(data.archs) & (data.macs >= RANGE[0]) & (data.macs <= RANGE[1])
    archs = [arch for arch, is_inside in zip(data.archs, inside, strict=True) if is_inside]
    return archs[:n]


def list_rows(file: Path) -> list[dict[str, str]]:
    """Rows of a CSV so far."""
    if not file.is_file():
        return []
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def add_row(file: Path, *cells: object) -> None:
    """Add a row to a CSV."""
    if not file.is_file():
        file.write_text(COLUMNS[file.name] + "\n", encoding="utf-8")
    with file.open("ab") as stream:
        append_synced(stream, (",".join(map(str, cells)) + "\n").encode())


def choose_supernets(only: str | None) -> dict[str, tuple[int, float]]:
    """Seed of each, and how long it is trained in shares of the others."""
    return {name: value for name, value in SUPERNETS.items() if only in (None, name)}


def load_data(name: str, args: argparse.Namespace) -> Source:
    """The data of a supernet."""
    source = load_source(args.data)
    return shuffle_labels(source) if name == SHUFFLED else source


def train_all(args: argparse.Namespace, clock: Clock) -> bool:
    """Train the supernets, as far as there is time. Returns whether all have ended."""
    for name, (seed, share) in choose_supernets(args.supernet).items():
        folder = args.out / f"supernet-{name}"
        if (folder / "supernet.safetensors").is_file():
            continue
        if clock.is_over:
            return False
        options = SupernetOptions(
            space=SPACE,
            data=args.data,
            seed=seed,
            minutes=None if args.steps else share * args.minutes,
            steps=round(share * args.steps) if args.steps else None,
            macs=RANGE,
            changes=tuple(args.set),
        )
        run, source = SupernetRunOptions(device="cpu"), load_data(name, args)
        before = time.process_time()
        with apply_torch_settings(Conditions(threads=1), torch.device("cpu")):
            result = train_supernet(options, folder, clock, run, source)
        worked = time.process_time() - before
        clock.say(f"supernet {name}: step {result.step} of {result.steps}, {result.last}")
        add_row(args.out / TRAININGS, name, result.step, round(worked, 1))
        if result.interrupted:
            return False
    return True


def rate_all(args: argparse.Namespace, archs: list[Architecture], clock: Clock) -> bool:
    """Rate the networks by each supernet. Returns whether all are rated."""
    file = args.out / RATINGS
    known = {(row["supernet"], row["key"]) for row in list_rows(file)}
    for name in choose_supernets(args.supernet):
        missing = [arch for arch in archs if (name, arch.key) not in known]
        if not missing:
            continue
        supernet = load_supernet(args.out / f"supernet-{name}", "cpu", load_data(name, args))
        for arch in missing:
            if clock.is_over:
                return False
            before = time.process_time()
            (score,) = supernet.evaluate([arch])
            worked = time.process_time() - before
            figures = (score.loss, score.top1, round(worked, 3), round(score.least_share, 4))
            add_row(file, name, arch.key, *figures)
    return True


def draw_curve(args: argparse.Namespace, archs: list[Architecture], clock: Clock) -> bool:
    """Rate some networks with batch norms of more and more images."""
    file = args.out / CURVE
    known = {(row["key"], int(row["images"])) for row in list_rows(file)}
    supernet = load_supernet(args.out / "supernet-0", "cpu", load_data("0", args))
    for arch in pick_spread(archs, args.curve):
        for images in CALIBRATION:
            if (arch.key, images) in known:
                continue
            if clock.is_over:
                return False
            start = time.process_time()
            chosen = supernet.open_calibration_images(images)
            network = supernet.extract_calibrated(arch, chosen)
            seconds = time.process_time() - start
            score = supernet.score(network)
            add_row(file, arch.key, images, score.loss, score.top1, round(seconds, 3))
    return True


def pick_spread(archs: list[Architecture], n: int) -> list[Architecture]:
    """Networks evenly spread over the list."""
    return [archs[i] for i in np.unique(np.linspace(0, len(archs) - 1, n).astype(int))]


def learn_on(args: argparse.Namespace, archs: list[Architecture], clock: Clock) -> bool:
    """Train some networks on from inherited weights, and from scratch, by the bench's recipe."""
    file = args.out / LEARNING
    known = {(row["key"], row["start"]) for row in list_rows(file)}
    supernet: Supernet | None = None
    for arch in pick_spread(archs, args.learners):
        for begin in ("inherited", "scratch"):
            if (arch.key, begin) in known:
                continue
            if clock.is_over:
                return False
            if supernet is None:
                supernet = load_supernet(args.out / "supernet-0", "cpu", load_data("0", args))
            init = None
            if begin == "inherited":
                init = str(args.out / "learning" / f"{arch.key}.safetensors")
                Path(init).parent.mkdir(exist_ok=True)
                card, state = supernet.make_card(arch), supernet.extract(arch).state_dict()
                save_weights(Path(init), card, state)
            folder = args.out / "learning" / f"{arch.key}-{begin}"
            figures = train_one(args, arch, init, folder)
            add_row(file, arch.key, begin, *figures)
    return True


def train_one(
    args: argparse.Namespace, arch: Architecture, init: str | None, folder: Path
) -> tuple[float | None, ...]:
    """Top-1, loss and seconds of a training by the bench's recipe."""
    # the same images as the supernet's search split; the warm-up must fit into one epoch
    changes = ("warmup_epochs=0.25", f"eval_every={args.epochs}")
    request = TrainRequest(
        "network", args.data, "bench", changes, epochs=args.epochs, seed=0, init=init
    )
    start = time.process_time()
    one_thread = apply_torch_settings(Conditions(threads=1), torch.device("cpu"))
    with one_thread, join_process_group("cpu") as group:
        result = start_training(
            request, RunOptions(device="cpu"), folder, True, group, NullProgress(), arch
        )
    last = result.history[-1]
    return last.val_top1, last.val_loss, round(time.process_time() - start, 1)


def main() -> None:
    """Do what is missing, as far as there is time; then print the tables."""
    args, bench = parse_arguments(), load_bench(BENCH)
    keep_freed_memory()  # as the command does, whose process is its own
    args.out.mkdir(parents=True, exist_ok=True)
    archs, clock = select_networks(bench, args.networks), Clock(args.seconds)
    parts: dict[str, Callable[[], bool]] = {
        "train": lambda: train_all(args, clock),
        "rate": lambda: rate_all(args, archs, clock),
        "curve": lambda: draw_curve(args, archs, clock),
        "learn": lambda: learn_on(args, archs, clock),
    }
    for name, make in parts.items():
        if args.part in (None, name) and not make():
            print("not done yet: call it again", file=sys.stderr)
            sys.exit(3)
    if args.part in (None, "show"):
        rows = {name: list_rows(args.out / name) for name in COLUMNS}
        show_tables(bench, archs, rows)


if __name__ == "__main__":
    main()
