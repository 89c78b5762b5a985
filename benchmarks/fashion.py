"""Trains a small network on Fashion-MNIST: `python benchmarks/fashion.py --data DIR`.

`make data` installs the 70,000 images from Debian and prints DIR. One training a seed, by a recipe;
a tenth of the 60,000 training images is held out and chooses the epoch. The official test set is
read once, after all trainings. A seed that is finished is not trained again, and one that was cut
off goes on. Minutes are wall time, with start-up, evaluation and checkpoints.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.model import cpu_model
from smt_nas.files import write_atomic
from smt_nas.runtime.progress import EpochMetrics, NullProgress
from smt_nas.train.evaluate_weights import EvalRequest, evaluate_weights
from smt_nas.train.processes.process_group import ProcessGroup, join_process_group
from smt_nas.train.run import start_training
from smt_nas.train.train_config import RunOptions, TrainRequest
from smt_nas.train.training_state import TrainResult

MINUTES = "minutes.json"  # in the folder of a training, written when it has ended


class EpochPrinter(NullProgress):
    """Prints a line an epoch, on stderr."""

    def epoch(self, metrics: EpochMetrics) -> None:
        """Tell the epoch's figures."""
        names = ("epoch", "train_loss", "val_top1", "images_per_s", "waiting_share")
        measured = metrics.measured()
        cells = (f"{name} {measured[name]:.4g}" for name in names if name in measured)
        print("  ".join(cells), file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Trained:
    """A training that has ended, and the wall time of the start that ended it."""

    seed: int
    finished: TrainResult
    minutes: float
    whole: bool  # in one go


def main() -> None:
    """Train each seed, then judge all by the test set, and print the table."""
    args = arguments()
    if args.threads:
        torch.set_num_threads(args.threads)
    with join_process_group(args.device) as group:
        trained = [train(args, seed, group) for seed in args.seeds]
        if any(one.finished.interrupted for one in trained):
            sys.exit("interrupted; the same command goes on")
        print(f"{args.network}, recipe {args.recipe} {' '.join(args.set)}".rstrip())
        print(f"torch {torch.__version__}, {place(group)}")
        table(trained, group)


def place(group: ProcessGroup) -> str:
    """The machine, in words."""
    if group.device.type == "cuda":
        return torch.cuda.get_device_name(group.device)
    return f"{cpu_model()}, {torch.get_num_threads()} threads"


def train(args: argparse.Namespace, seed: int, group: ProcessGroup) -> Trained:
    """One training, from where its folder is."""
    run = args.out / f"{args.network}-seed{seed}"
    request = TrainRequest(
        args.network,
        f"fashion-mnist:{args.data}",
        recipe=args.recipe,
        changes=tuple(args.set),
        epochs=args.epochs,
        seed=seed,
    )
    record, began = run / MINUTES, run.exists()
    begin = time.monotonic()
    finished = start_training(
        request, RunOptions(device=args.device), run, True, group, EpochPrinter()
    )
    minutes = (time.monotonic() - begin) / 60
    if record.exists():
        return Trained(seed, finished, **json.loads(record.read_text(encoding="utf-8")))
    if not finished.interrupted:
        write_atomic(record, json.dumps({"minutes": minutes, "whole": not began}))
    return Trained(seed, finished, minutes, not began)


def table(trained: list[Trained], group: ProcessGroup) -> None:
    """Print what each seed came to, and the mean and deviation of all."""
    print(
        f"{'seed':>4} {'epochs':>6} {'best':>4} {'val top-1':>9} {'test top-1 (95 %)':>21} "
        f"{'minutes':>8} {'img/s':>6} {'waiting':>8}"
    )
    top1 = []
    for one in trained:
        score = evaluate_weights(
            EvalRequest(weights=one.finished.run, split="test"), group, NullProgress()
        ).score
        top1.append(100 * score.top1)
        best, rate, waited = (
            one.finished.best,
            one.finished.images_per_s,
            one.finished.waiting_share,
        )
        assert best is not None and rate is not None and waited is not None
        assert best.val_top1 is not None
        interval = f"({100 * score.top1_low:.2f} .. {100 * score.top1_high:.2f})"
        print(
            f"{one.seed:4} {one.finished.epochs:6} {best.epoch:4} "
            f"{100 * best.val_top1:9.2f} {top1[-1]:5.2f} {interval} "
            f"{one.minutes:7.1f}{' ' if one.whole else '+'} {rate:6.0f} {100 * waited:6.1f} %"
        )
    if not all(one.whole for one in trained):
        print("+: was cut off once; the minutes are of its last start alone")
    spread = f" +- {statistics.stdev(top1):.2f}" if len(top1) > 1 else ""
    print(f"test top-1 of {len(top1)} seeds: {statistics.mean(top1):.2f}{spread} %")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Trains on Fashion-MNIST, for several seeds.")
    parser.add_argument("--data", type=Path, required=True, help="folder that `make data` prints")
    parser.add_argument("--network", default="smt_micro")
    parser.add_argument("--recipe", default="small")
    parser.add_argument("--set", nargs="+", default=[], help="changes of the recipe")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("runs/fashion"))
    parser.add_argument("--device", help="cpu or cuda; this machine's by default")
    parser.add_argument("--threads", type=int, help="of torch on a CPU")
    return parser.parse_args()


if __name__ == "__main__":
    main()
