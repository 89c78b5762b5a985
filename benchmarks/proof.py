"""Do the picks of a search win once they are trained? CIFAR-10 and Tiny-ImageNet-100, two budgets.

python -m benchmarks.proof FOLDER --data DIR [--workers N]    trains what is missing, then prints
python -m benchmarks.proof FOLDER --decide --data DIR         decides on the networks alone
python -m benchmarks.proof FOLDER --print                     prints what is there

DIR holds `cifar10/` and `tiny-imagenet-100/`, of Parquet files (`pip install pyarrow`). At each
budget all candidates (`proof_networks`) have equal MACs within 2 %, and each distinct one is
trained by one recipe (`data/proof.yaml`), once a seed. A run may be ended in any way at any time:
the same command goes on. Rows are in FOLDER/proof.csv as soon as a training has finished. `--quick`
tries all of it with an epoch of few images, in a folder of its own.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.proof_latency import measure_block, read_times
from benchmarks.proof_networks import (
    CANDIDATES,
    decide_candidate,
    forget_reasons,
    read_candidates,
)
from benchmarks.proof_setup import DATA_SETS, SearchEffort, Setup, prepare_folder, read_setup
from benchmarks.proof_tables import (
    describe_settings,
    list_notes,
    list_verdicts,
    make_table,
    read_block,
)
from benchmarks.proof_trainings import ProofTask, TaskResult, list_tasks, run_in_turn, run_task
from smt_nas.cli import console
from smt_nas.errors import SmtNasError, StoreError
from smt_nas.files import locked
from smt_nas.nasbench.placement import Placement, choose_placement
from smt_nas.runtime.allocator import choose_preparation
from smt_nas.runtime.engines.engine_choice import make_engine
from smt_nas.runtime.engines.process_pool import default_workers
from smt_nas.runtime.turn_pool import TurnPool
from smt_nas.train.processes.process_group import join_process_group

_CPU_EPOCHS, _CPU_IMAGES = 10, 22_500  # half of the 45,000 that are not held out
_GPU_EPOCHS, _GPU_PRECISION = 30, "amp-bf16"
_QUICK = ("validation=0.02", "batch_size=32", "eval_every=1")


def main() -> None:
    """Train what is missing, and print."""
    args = read_arguments()
    try:
        setup = read_setup(args.folder) if args.print else make_setup(args)
        if not args.print:
            prepare_folder(setup)
            with locked(setup.folder, "Choose another folder."):
                if not (decide(setup, args) if args.decide else train_missing(setup, args)):
                    sys.exit("interrupted; the same command goes on")
                if not args.decide:
                    measure_missing(setup, args.remeasure)
        print_tables(setup, args.seeds)
    except SmtNasError as error:
        sys.exit(str(error))


def decide(setup: Setup, args: argparse.Namespace) -> bool:
    """Decide on all candidates, so that a GPU need not wait for searches. As `train_missing`."""
    forget_reasons(setup)
    tasks = [(setup, block, name) for block in setup.list_blocks() for name in args.only]
    try:
        with make_engine(args.workers or default_workers()) as pool:
            for text in pool.map(decide_candidate, tasks, str):
                if isinstance(text, StoreError):
                    raise text
                console.say(text)
    except KeyboardInterrupt:
        return False
    return True


def train_missing(setup: Setup, args: argparse.Namespace) -> bool:
    """Train what has no row yet. Returns False where it was interrupted.

    Raises:
        StoreError: the folder cannot be written.
    """
    placement = choose_placement(setup.device, args.workers, args.per_process)
    forget_reasons(setup)
    tasks = list_tasks(setup, args.only, args.seeds, placement.options)
    try:
        for done, (number, result) in enumerate(run_tasks(tasks, placement), 1):
            if isinstance(result, StoreError):
                raise result
            if result.stopped:
                return False
            _tell(tasks[number], result, done, len(tasks))
    except KeyboardInterrupt:
        return False
    return True


def run_tasks(
    tasks: list[ProofTask], placement: Placement
) -> Iterator[tuple[int, TaskResult | StoreError]]:
    """The number of each task and its result: in order, or as they come where they take turns."""
    if placement.per_process > 1:
        with TurnPool(placement.processes, placement.per_process) as pool:
            yield from pool.map(run_in_turn, tasks, _describe_lost)
    else:
        with make_engine(placement.processes) as engine:
            prepare = choose_preparation(placement.device_type)
            yield from enumerate(engine.map(run_task, tasks, _describe_lost, prepare=prepare))


def _describe_lost(reason: str) -> TaskResult | StoreError:
    return TaskResult(failure=reason)


def _tell(task: ProofTask, result: TaskResult, number: int, total: int) -> None:
    if result.failure is not None:
        console.say(f"{task.name}: failed: {result.failure}")
    elif result.row is not None and not result.was_there:
        rate = f"{result.row.images_per_s:.0f} images/s"
        top1 = f"test {100 * result.row.test_top1:.2f} %"
        console.say(f"{task.name}: {top1}, {rate} ({number} of {total})")


def measure_missing(setup: Setup, again: bool) -> None:
    """Measure the latencies of blocks whose candidates are decided, once or again."""
    for block in setup.list_blocks():
        networks, _ = read_candidates(setup, block)
        times = None if again else read_times(setup, block)
        if networks and (times is None or {a.key for a in networks.values()} - times.rounds.keys()):
            console.say(f"{block.label}: measuring {len(networks)} candidates in turns")
            measure_block(setup, block, networks)


def print_tables(setup: Setup, seeds: int) -> None:
    """Print what is there."""
    results = [read_block(setup, block) for block in setup.list_blocks()]
    for line in describe_settings(setup):
        console.show_text(line)
    for result in results:
        if result.candidates:
            console.show_text("")
            most = max((row.seed + 1 for c in result.candidates for row in c.rows), default=seeds)
            console.show(make_table(result, range(most)))
    console.show_text("")
    for line in (*list_verdicts(results), *list_notes(setup, results)):
        console.show_text(line)


def make_setup(args: argparse.Namespace) -> Setup:
    """What the arguments ask for."""
    with join_process_group(args.device) as group:
        device = str(group.device)
    on_gpu = device != "cpu"
    epochs = 1 if args.quick else args.epochs or (_GPU_EPOCHS if on_gpu else _CPU_EPOCHS)
    images = 640 if args.quick else args.images
    if images is None:
        images = 0 if on_gpu else _CPU_IMAGES
    return Setup(
        folder=args.folder,
        data=args.data,
        space=args.space,
        data_sets=tuple(args.sets),
        budgets=tuple(args.budgets),
        epochs=epochs,
        images=images or None,
        test_images=500 if args.quick else None,
        device=device,
        precision=args.precision or (_GPU_PRECISION if on_gpu else "fp32"),
        changes=_QUICK if args.quick else (),
        effort=SearchEffort(4, 1, 320) if args.quick else SearchEffort(),
        before=args.before,
    )


def at_least(low: float) -> Callable[[str], float]:
    """A reader of numbers, whole ones where the lowest is one."""
    kind = type(low)

    def read(text: str) -> float:
        number = kind(text)
        if not low <= number < math.inf:
            raise argparse.ArgumentTypeError(f"must be {low:g} or more (got {text})")
        return number

    read.__name__ = "number"  # as messages call it
    return read


def read_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.proof",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("folder", type=Path, help="of the proof; one that was begun goes on")
    add("--data", type=Path, default=Path("data"), help="folder of the data sets")
    add("--sets", nargs="+", default=list(DATA_SETS), choices=DATA_SETS, help="which of them")
    add("--only", nargs="+", default=list(CANDIDATES), choices=CANDIDATES, help="which candidates")
    add("--space", default="smt_small", help="search space at 32 px, name or path")
    add("--budgets", nargs="+", type=at_least(0.5), default=[4.0, 8.0], help="millions of MACs")
    add("--epochs", type=at_least(1), help=f"{_GPU_EPOCHS} on a GPU, else {_CPU_EPOCHS}")
    add(
        "--images", type=at_least(0), help="to train on, 0 for all; all on a GPU, else half of them"
    )
    add("--seeds", type=at_least(1), default=2, help="of each network")
    add("--device", help="cpu or cuda; this machine's by default")
    add("--precision", help=f"{_GPU_PRECISION} on a GPU, else fp32")
    add("--workers", type=at_least(1), help="processes that train, as `bench build` has them")
    add("--per-process", type=at_least(1), help="trainings at once in each, on a GPU")
    add("--before", type=Path, help="checkout of the build before, to search by it")
    add("--quick", action="store_true", help="an epoch of few images, to see that all works")
    add("--decide", action="store_true", help="search and draw the networks, and train none")
    add("--remeasure", action="store_true", help="measure latencies again")
    add("--print", action="store_true", help="print what is there, and train nothing")
    return parser.parse_args()


if __name__ == "__main__":
    main()
