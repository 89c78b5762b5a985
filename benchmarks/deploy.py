"""Times the forms in which a network is deployed.

    python -m benchmarks.deploy [--rounds 20]

The published code in eager fp32 is what every form is compared with. Each form runs in a process of
its own, on one thread. They take turns, two forwards each, of which the second counts, so that
whatever else the machine does meets all of them: a ratio is the median of the ratios within a
round, with a bootstrap interval. Ratios are of CPU time, of which a process that waits for a core
spends none; those by the clock stand beside them. Memory is the peak of a form's process while it
runs, and while it loads.

A run that was cut off goes on where it stopped: files and rounds are in benchmarks/.cache/deploy.
They are of the code that made them: remove them after a change of the network or its fused form.
Needs onnxscript, onnxruntime and openvino; a form whose library is absent says so.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.deploy_worker import FORMS, Form
from benchmarks.model import cpu_model

CACHE = Path(__file__).resolve().parent / ".cache" / "deploy"
BATCHES = (1, 8)
GOALS = {  # of a kind, at each batch: times the published code in eager fp32
    "eager fp32": (1.45, 1.3),
    "fp32": (1.8, 1.55),
    "bf16": (3.0, 2.8),
    "int8": (3.0, 2.8),
}
FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16", "amx_int8")
LIBRARIES = ("torch", "onnxruntime", "openvino", "onnx", "onnxscript")
BASE = "published"
DEFAULT = [name for name in FORMS if name not in ("ort_ours", "ov_ours_bf16")]
LEGEND = """ms: CPU time of a forward. x: times the published code in eager fp32, by CPU time (95 %
interval) and by the clock; + goal reached, - missed. max, rms: difference of logits, the largest,
and its deviation relative to the logits' own. top: share of images with the same first class.
MB: peak while running, and with loading."""


class Worker:
    """A form's process."""

    def __init__(self, name: str, folder: Path, batch: int) -> None:
        command = [sys.executable, "-m", "benchmarks.deploy_worker", name, str(folder), str(batch)]
        self.process = subprocess.Popen(
            command,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.first = self._read()

    def time(self) -> list[float]:
        """One forward: milliseconds by the clock and of CPU."""
        assert self.process.stdin is not None
        self.process.stdin.write("run\n")
        self.process.stdin.flush()
        spent: list[float] = self._read()
        return spent

    def close(self) -> None:
        """End it."""
        self.process.communicate()

    def _read(self) -> Any:
        assert self.process.stdout is not None and self.process.stderr is not None
        line = self.process.stdout.readline()
        if not line:
            words = self.process.stderr.read().strip().splitlines()
            raise RuntimeError(words[-1] if words else f"ended with {self.process.wait()}")
        return json.loads(line)


def make_artefacts(names: Sequence[str], network: str, folder: Path) -> dict[str, str]:
    """Make what is not there. Returns the reason for each that could not be made."""
    folder.mkdir(parents=True, exist_ok=True)
    failures = {}
    for name in ("images.npy", *names):
        if not (folder / name).exists():
            print(f"making {name}", file=sys.stderr)
            command = [sys.executable, "-m", "benchmarks.deploy_artefacts", name, network, folder]
            done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
            if done.returncode:
                failures[name] = done.stderr.strip().splitlines()[-1]
    return failures


def run_batch(names: Sequence[str], folder: Path, batch: int, rounds: int) -> None:
    """Rounds in which every form runs once, until the journal holds as many as are wanted."""
    journal = folder / f"b{batch}.jsonl"
    left = rounds - len([e for e in read_lines(journal) if set(names) <= set(e.get("ms", ()))])
    if left <= 0:
        return
    with ExitStack() as stack, journal.open("a", encoding="utf-8") as file:

        def write(entry: dict[str, Any]) -> None:
            file.write(json.dumps(entry) + "\n")
            file.flush()

        workers = {}
        for name in names:
            print(f"batch {batch}: loading {name}", file=sys.stderr)
            try:
                workers[name] = Worker(name, folder, batch)
                stack.callback(workers[name].close)
                write({"form": name, **workers[name].first})
            except RuntimeError as error:
                write({"form": name, "failure": str(error)})
        for _ in range(left):
            write({"ms": {name: worker.time() for name, worker in workers.items()}})


def read_lines(journal: Path) -> list[dict[str, Any]]:
    """What a journal holds; a last line that was cut off is left out."""
    text = journal.read_text(encoding="utf-8") if journal.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def list_rows(names: Sequence[str], folder: Path) -> list[str]:
    """A row of the table a form."""
    rows = []
    for name in names:
        cells = [make_cell(name, folder, i) for i in range(len(BATCHES))]
        rows.append(f"{FORMS[name].words:40}" + "".join(cells))
    return rows


def make_cell(name: str, folder: Path, index: int) -> str:
    """Ratios, difference of logits and memory of a form at a batch."""
    entries = read_lines(folder / f"b{BATCHES[index]}.jsonl")
    firsts = {e["form"]: e for e in entries if "logits" in e}
    rounds = [e["ms"] for e in entries if name in e.get("ms", ()) and BASE in e["ms"]]
    if name not in firsts or not rounds:
        reasons = [e["failure"] for e in entries if e.get("form") == name and "failure" in e]
        return f" | {(reasons or ['not run'])[-1][:60]:60}"
    times = np.array([[r[BASE], r[name]] for r in rounds])  # (R, 2, 2): base and form, wall and CPU
    wall, cpu = (times[:, 0] / times[:, 1]).T  # (R,) each
    low, high = bootstrap(cpu)
    goal = GOALS.get(FORMS[name].kind)
    mark = " " if goal is None else "+" if np.median(cpu) >= goal[index] else "-"
    logits, truth = (np.array(firsts[n]["logits"]) for n in (name, BASE))
    off, agree = logits - truth, np.mean(logits.argmax(1) == truth.argmax(1))
    first = firsts[name]
    return (
        f" | {np.median(times[:, 1, 1]):6.1f} {np.median(cpu):5.2f}{mark}({low:.2f}..{high:.2f}) "
        f"{np.median(wall):5.2f} {np.abs(off).max():8.1e} {off.std() / truth.std():7.2%} "
        f"{agree:4.0%} {first['running_mb']:5.0f} {first['loading_mb']:5.0f}"
    )


def bootstrap(values: np.ndarray[Any, np.dtype[np.float64]]) -> tuple[float, float]:
    """95 % interval of a median."""
    draws = np.random.default_rng(0).choice(values, (2000, len(values)))
    low, high = np.percentile(np.median(draws, axis=1), [2.5, 97.5])
    return float(low), float(high)


def describe_machine() -> str:
    """CPU, what it can, and versions."""
    info = Path("/proc/cpuinfo")
    words = set(info.read_text(encoding="utf-8").split()) if info.exists() else set()
    flags = [flag for flag in FLAGS if flag in words]
    return f"{cpu_model()}: {' '.join(flags)}; {', '.join(map(_version, LIBRARIES))}"


def _version(library: str) -> str:
    try:
        return f"{library} {version(library)}"
    except PackageNotFoundError:
        return f"no {library}"


def list_artefacts(form: Form) -> list[str]:
    """The files of a form, of every batch."""
    return sorted({form.artefact.format(batch=batch) for batch in BATCHES})


def main() -> None:
    """Make what is missing, run, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", default="smt_t")
    parser.add_argument("--rounds", type=int, default=20, help="at batch 1; a third at batch 8")
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=DEFAULT)
    parser.add_argument("--print", action="store_true", help="of what is there alone")
    args = parser.parse_args()
    names, folder = [BASE, *(n for n in args.forms if n != BASE)], CACHE / args.network
    if not args.print:
        artefacts = ["fused.onnx", *(a for name in names for a in list_artefacts(FORMS[name]))]
        for name, reason in make_artefacts(artefacts, args.network, folder).items():
            print(f"{name}: {reason}", file=sys.stderr)
        for batch in BATCHES:
            run_batch(names, folder, batch, args.rounds if batch == 1 else -(-args.rounds // 3))
    print(f"{args.network}, 224 px, 1 thread. {describe_machine()}")
    print(LEGEND)
    titles = " | " + f"{'ms':>6} {'x':>5} {'':13}{'clock':>6} {'max':>8} {'rms':>7} {'top':>4}"
    titles += f" {'MB':>5} {'load':>5}"
    print(f"{'batch ' + ', '.join(map(str, BATCHES)):40}" + titles * len(BATCHES))
    for row in list_rows(names, folder):
        print(row)


if __name__ == "__main__":
    main()
