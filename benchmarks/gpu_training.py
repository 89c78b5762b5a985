"""Images a second that a GPU trains small networks at: the plain loop, and the fast path.

    python -m benchmarks.gpu --training --data parquet:DIR --minutes 9

Networks of 5, 10, 20 and 40 MMACs at the size of the data, by recipe `bench-c10`. A form is so many
processes with so many trainings in each. All of a cell's trainings warm up, wait for one another,
and are timed over the same seconds; the GPU is waited for at both ends. Cells of a network follow
one another, form by form, so that all see the same machine. A line of JSON a cell in
benchmarks/gpu/<device>.training.jsonl; a run that was cut off goes on where it stopped. With
`--bench-c10` the rest of the time adds rows to a bench.
"""

from __future__ import annotations

import json
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from smt_nas import costs
from smt_nas.arch import Architecture
from smt_nas.errors import one_line
from smt_nas.nasbench.plan import plan_networks
from smt_nas.nasbench.table import BenchCard, load_bench
from smt_nas.runtime.environment import read_environment
from smt_nas.runtime.host import available_cores
from smt_nas.runtime.progress import NullProgress
from smt_nas.runtime.turn_pool import TurnPool
from smt_nas.runtime.turns import Steps
from smt_nas.space import SearchSpace
from smt_nas.train.processes.lane import run_in_lane
from smt_nas.train.processes.process_group import join_process_group
from smt_nas.train.recipe import load_recipe
from smt_nas.train.run import iterate_training
from smt_nas.train.train_config import RunOptions, TrainRequest
from smt_nas.train.train_job import reader_count

MMACS = (5, 10, 20, 40)
RECIPE = "bench-c10"
WARM_UP, LOOK_EVERY = 48, 16  # updates before a training is ready; between looks for the others
PATIENCE_S = 120.0  # for the slowest to be ready
GOAL = 80_000
SHIPPED = Path("smt_nas/data/nasbench/smt-bench-c10")
DEFAULT_PLAN = [
    *("--space", "smt_small", "--macs", "6..20MMACs", "--plan", "depth"),
    *("--recipe", RECIPE, "--budgets", "2,8"),
]
SPENT_S = 45.0  # of a build: processes start, images are decoded, the last ones end unevenly
USED = 0.8  # of the time left that networks are planned for
SAVING_S = 90.0


@dataclass(frozen=True)
class Form:
    """How trainings run: so many processes, so many in each.

    Attributes:
        name: of it in the table.
        processes: that train.
        per_process: trainings at once in each.
        fast: the fast path, or the plain loop.
        precision: of the recipe.
    """

    name: str
    processes: int
    per_process: int
    fast: bool
    precision: str


@dataclass(frozen=True)
class Lane:
    """One of the trainings of a cell, as its process is told of it.

    Attributes:
        arch: the network.
        form: of the cell.
        data: as `load_source` takes it.
        device: where.
        meeting: a folder in which all of them say that they are ready.
        number: of this one.
        seconds: over which it is timed.
        warm_up: updates before it is ready.
    """

    arch: Architecture
    form: Form
    data: str
    device: str
    meeting: Path
    number: int
    seconds: float
    warm_up: int = WARM_UP


@dataclass(frozen=True)
class Rate:
    """Images that a training saw in so many seconds."""

    images: int
    seconds: float


def list_forms(cores: int) -> list[Form]:
    """The plain loop as it was built with before, and forms of the fast path."""
    return [
        Form("plain", max(1, cores - 1), 1, False, "amp-bf16"),
        Form("fast 2 x 8", 2, 8, True, "amp-bf16"),
        Form("fast 1 x 16", 1, 16, True, "amp-bf16"),
        Form("fast 4 x 4", 4, 4, True, "amp-bf16"),
        Form("fast 2 x 8 fp32", 2, 8, True, "fp32"),
        Form("fast 1 x 1", 1, 1, True, "amp-bf16"),
    ]


def choose_networks(space: SearchSpace) -> dict[int, Architecture]:
    """The network nearest to each number of MMACs in the plan of a bench."""
    planned = plan_networks(space, 200, 1e6 * MMACS[0], 1e6 * MMACS[-1], 0, 1)
    by_macs = {costs.of(network.arch).macs / 1e6: network.arch for network in planned}
    return {wanted: by_macs[min(by_macs, key=lambda m: abs(m - wanted))] for wanted in MMACS}


def measure_lane(lane: Lane) -> Steps[Rate | str]:
    """Train in a lane of the device, and time it together with the others of its cell."""
    with join_process_group(lane.device) as group:
        return run_in_lane(_measure(lane, group.device), group.device)


def _measure(lane: Lane, device: torch.device) -> Steps[Rate | str]:
    form, recipe = lane.form, load_recipe(RECIPE)
    trainings = form.processes * form.per_process
    options = RunOptions(
        device=lane.device, workers=reader_count(device, trainings), fast=form.fast
    )
    changes = (f"precision={form.precision}",)
    request = TrainRequest(lane.arch.key, lane.data, RECIPE, changes, seed=lane.number)
    with tempfile.TemporaryDirectory() as folder, join_process_group(lane.device) as group:
        run, listener = Path(folder) / "run", NullProgress()
        steps = iterate_training(request, options, run, False, group, listener, lane.arch)
        try:
            yield from _wait_for_others(steps, lane, trainings)
            _wait_for(device)
            begin, updates = time.monotonic(), 0
            while time.monotonic() - begin < lane.seconds:
                next(steps)
                updates += 1
                yield
            _wait_for(device)
            return Rate(updates * recipe.batch_size, time.monotonic() - begin)
        except Exception as error:  # a cell that cannot be measured says why
            return one_line(error)
        finally:
            steps.close()


def _wait_for_others(steps: Steps[Any], lane: Lane, trainings: int) -> Steps[None]:
    """Train on until all trainings of the cell are warm."""
    for _ in range(lane.warm_up):
        next(steps)
        yield
    (lane.meeting / str(lane.number)).touch()
    deadline = time.monotonic() + PATIENCE_S
    while len(list(lane.meeting.iterdir())) < trainings and time.monotonic() < deadline:
        for _ in range(min(LOOK_EVERY, lane.warm_up)):
            next(steps)
            yield


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure_training(
    data: str, device: str, out: Path, deadline: float, seconds: float, forms: Sequence[Form]
) -> list[dict[str, Any]]:
    """Measure what the journal does not hold yet, a line each, until the deadline.

    Returns: what the journal holds then.
    """
    name = "cpu" if device == "cpu" else device_key(device)
    journal = out / f"{name}.training.jsonl"
    out.mkdir(parents=True, exist_ok=True)
    done = {(line["mmacs"], line["form"]) for line in read_lines(journal)}
    networks = choose_networks(SearchSpace.load("smt_micro"))
    with ExitStack() as stack, journal.open("a", encoding="utf-8") as file:
        pools = {
            form: stack.enter_context(TurnPool(form.processes, form.per_process)) for form in forms
        }
        for mmacs, arch in networks.items():
            for form, pool in pools.items():
                if (mmacs, form.name) in done or time.monotonic() > deadline:
                    continue
                line = measure_cell(pool, form, arch, data, device, seconds)
                line |= {"mmacs": mmacs, "environment": read_environment(device)}
                file.write(json.dumps(line) + "\n")
                file.flush()
                print(f"{mmacs} MMACs, {form.name}: {line.get('images_per_s', line)}", flush=True)
    return read_lines(journal)


def measure_cell(
    pool: TurnPool,
    form: Form,
    arch: Architecture,
    data: str,
    device: str,
    seconds: float,
    warm_up: int = WARM_UP,
) -> dict[str, Any]:
    """Images a second of all trainings of a form, or why one of them failed."""
    with tempfile.TemporaryDirectory() as meeting:
        lanes = [
            Lane(arch, form, data, device, Path(meeting), number, seconds, warm_up)
            for number in range(form.processes * form.per_process)
        ]
        rates = [rate for _, rate in pool.map(measure_lane, lanes, str)]
    failures = [rate for rate in rates if isinstance(rate, str)]
    line: dict[str, Any] = {"form": form.name, "macs": costs.of(arch).macs, "key": arch.key}
    line |= {"precision": form.precision, "trainings": len(lanes)}
    if failures:
        return line | {"failure": failures[0]}
    measured = [rate for rate in rates if isinstance(rate, Rate)]
    return line | {"images_per_s": round(sum(rate.images / rate.seconds for rate in measured))}


def device_key(device: str) -> str:
    """The name of the sheet of a GPU."""
    from smt_nas.devices.resolve import resolve

    return resolve(device).require_sheet().key


def read_lines(journal: Path) -> list[dict[str, Any]]:
    """What a journal holds; a last line that was cut off is left out."""
    text = journal.read_text(encoding="utf-8") if journal.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def mean_rate(lines: Sequence[dict[str, Any]], form: str) -> float | None:
    """Images a second over networks of all sizes alike: the harmonic mean. None: not measured."""
    rates = {line["mmacs"]: line.get("images_per_s") for line in lines if line["form"] == form}
    known = [rates.get(mmacs) for mmacs in MMACS]
    return None if None in known else statistics.harmonic_mean([float(r or 0) for r in known])


def markdown(lines: Sequence[dict[str, Any]]) -> str:
    """Images a second in all, a row a size; last the harmonic mean, and times the plain loop."""
    forms = list(dict.fromkeys(line["form"] for line in lines))
    cells = {(line["mmacs"], line["form"]): line.get("images_per_s", "failed") for line in lines}
    rows = ["| MMACs | " + " | ".join(forms) + " |", "|" + "---|" * (len(forms) + 1)]
    macs = {line["mmacs"]: f"{line['macs'] / 1e6:.1f}" for line in lines}
    for mmacs in MMACS:
        row = [str(cells.get((mmacs, form), "-")) for form in forms]
        rows.append(f"| {macs.get(mmacs, mmacs)} | " + " | ".join(row) + " |")
    plain = mean_rate(lines, forms[0]) if forms else None
    means = []
    for form in forms:
        mean = mean_rate(lines, form)
        times = "" if mean is None or not plain else f" ({mean / plain:.1f} x)"
        means.append("-" if mean is None else f"{mean:.0f}{times}")
    return "\n".join([*rows, "| mean | " + " | ".join(means) + " |"])


def build_bench_c10(
    data: str, device: str, out: Path, deadline: float, lines: Sequence[dict[str, Any]]
) -> None:
    """Add as many networks to the bench as the time allows; at its end Ctrl-C lets it save.

    Args:
        data: CIFAR-10.
        device: where.
        out: folder of the bench; without a table the shipped one is copied there and goes on.
        deadline: of `time.monotonic`.
        lines: of the journal, by which the networks are counted.
    """
    table = out / "bench.csv"
    if not table.exists() and SHIPPED.with_suffix(".csv").exists():
        out.mkdir(parents=True, exist_ok=True)
        for suffix in (".csv", ".yaml"):
            shutil.copy(SHIPPED.with_suffix(suffix), out / f"bench{suffix}")
    bench = load_bench(out) if table.exists() else None
    there = 0 if bench is None else sum(bench.sizes.values()) // max(1, len(bench.sizes))
    new = count_networks(lines, deadline - time.monotonic() - SPENT_S)
    plan = DEFAULT_PLAN if bench is None else describe_plan(bench.card)
    options = ["--data", data, "--device", device, "--n", str(there + new), "--out", str(out)]
    command = [sys.executable, "-m", "smt_nas", "bench", "build", *plan, *options]
    print("$", *command, flush=True)
    build = subprocess.Popen(command)
    try:
        build.wait(max(1.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        build.send_signal(signal.SIGINT)
        build.wait(SAVING_S)


def count_networks(lines: Sequence[dict[str, Any]], seconds: float) -> int:
    """Networks that are trained in so many seconds, by the rate that was measured; at least 1."""
    recipe = load_recipe(RECIPE)
    rate = mean_rate(lines, "fast 2 x 8 fp32") or mean_rate(lines, "fast 2 x 8") or GOAL
    epochs = recipe.epochs + 0.2 * (2 + 8)
    images = epochs * 50_000 * (1 - recipe.validation)
    return max(1, int(USED * seconds * rate / images))


def describe_plan(card: BenchCard) -> list[str]:
    """The options of `bench build` that add to the bench of this card, up to all of the recipe."""
    low, high = (f"{card.plan[name] / 1e6:g}" for name in ("low_macs", "high_macs"))
    most = load_recipe(card.recipe_name).epochs
    shorter = [str(epochs) for epochs in card.budgets if epochs < most]
    return [
        *("--space", card.space, "--recipe", card.recipe_name, "--plan", card.plan_name),
        *("--macs", f"{low}..{high}MMACs", "--seed", f"{card.plan['seed']:g}"),
        *(("--budgets", ",".join(shorter)) if shorter else ()),
    ]


def train_on_gpu(
    data: str, device: str, out: Path, minutes: float, with_bench: bool, seconds: float = 5.0
) -> None:
    """The table within half of the time, or all of it; then rows for the bench."""
    start, total = time.monotonic(), 60 * minutes
    share = 0.5 if with_bench else 0.9
    forms = list_forms(available_cores())
    lines = measure_training(data, device, out, start + share * total, seconds, forms)
    print(markdown(lines), flush=True)
    if with_bench:
        build_bench_c10(data, device, out / "bench-c10", start + 0.95 * total, lines)
