"""Makes the fixtures with the code of 0.1 (commit bbbefd4); see README.md here.

    python -m tests.data.v0_1.make [NAME ...]

from a checkout of that commit, with one CPU thread. It is kept to tell how they came about; later
code has other modules and is not to make them anew.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import mkdtemp

import torch
from tests.fakes.bench import SHEET, SMALL, FakeBench, Killed

from tests.v0_1 import observe

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[2]
KILL = """
import os, signal, sys
from {module} import {owner}
def killed(*words, _real={owner}.{name}, **more):
    killed.calls += 1
    done = _real(*words, **more)
    if killed.calls == {after}:
        os.kill(os.getpid(), signal.SIGKILL)
    return done
killed.calls = 0
{owner}.{name} = killed
from smt_nas.cli import main
sys.argv[1:] = {words}
main()
"""
COSTS_ONLY = ["--objective", "top1_pct", "--objective", "macs", "--objective", "params"]
MICRO = ["--space", "smt_micro", "--budget", "20MMACs"]
OUT = ["--no-prove", "--workers", "1", "--out"]
RUNS = {  # search, number of networks that a later resume tries
    "random": (
        [*MICRO, *["--strategy", "random", "--n", "16", "--evaluator", "capacity"], *COSTS_ONLY],
        24,
    ),
    "nsga2": (["--space", "smt_micro", "--n", "33", "--seed", "1", *COSTS_ONLY], 36),
    "killed": (
        [*MICRO, *["--n", "38", "--device", "epyc_zen3_2cpu", "--seed", "2"], *COSTS_ONLY[:4]],
        38,
    ),
    "function": (
        [
            *MICRO,
            *["--n", "12", "--evaluator", "v0_1_rule:rate", "--timeout", "60"],
            "--objective",
            "score",
            *COSTS_ONLY[2:],
        ],
        16,
    ),
    "predictor": (
        [
            "--space",
            "smt",
            "--budget",
            "3GFLOPs",
            "--n",
            "12",
            "--evaluator",
            "predictor",
            "--strategy",
            "random",
            "--device",
            "epyc_zen3_2cpu",
        ],
        16,
    ),
    "short_train": (
        [
            "--space",
            "tiny_space.yaml",
            "--data",
            "digits",
            "--epochs",
            "3",
            "--n",
            "6",
            "--recipe",
            "quick.yaml",
            "--strategy",
            "random",
            "--objective",
            "val_top1",
            "--objective",
            "macs",
        ],
        8,
    ),
    "proved": (
        [
            *MICRO,
            *["--n", "5", "--strategy", "random", "--device", "cpu", "--evaluator", "capacity"],
            "--objective",
            "top1_pct",
            "--objective",
            "latency_ms",
        ],
        5,
    ),
}


def environment():
    """One thread, and a working directory that names nothing."""
    return {
        **os.environ,
        "PYTHONPATH": str(CHECKOUT),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }


def invoke(folder, *words, code=0):
    """A command as a user types it, in a folder; its stdout."""
    command = [sys.executable, "-m", "smt_nas", *map(str, words)]
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return done.stdout


def killed(folder, words, module, owner, name, after):
    """A command that SIGKILL ends after so many calls of a function."""
    code = KILL.format(
        module=module, owner=owner, name=name, after=after, words=[str(w) for w in words]
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment())
    assert done.returncode == -9, done.returncode


def work():
    """A folder with the inputs that commands name."""
    folder = Path(mkdtemp()) / "work"
    shutil.copytree(HERE / "inputs", folder)
    return folder


def write(path, value):
    """JSON that diffs well enough and is not long."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=0, separators=(",", ":")) + "\n")


def kept(folder, to):
    """A run directory as it is; its database compressed, locks left out."""
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(folder, to, ignore=shutil.ignore_patterns(".lock"))
    for path in to.rglob("study.db"):
        with gzip.GzipFile(f"{path}.gz", "wb", mtime=0) as file:
            file.write(path.read_bytes())
        path.unlink()


def run(name):
    """A run directory, its front, and its front once more networks were tried."""
    words, later = RUNS[name]
    folder, to = work(), HERE / "runs" / name
    shutil.rmtree(to, ignore_errors=True)
    search = ["search", *words, *(OUT if name != "proved" else OUT[1:])]
    if name == "killed":
        study = ("smt_nas.search.study", "Study", "add", 35)
        killed(folder, [*search, "run"], *study)
        kept(folder / "run", to / "run")
        invoke(folder, *search, "whole")
        write(to / "later.json", front(folder, "whole"))
        return
    invoke(folder, *search, "run")
    kept(folder / "run", to / "run")
    write(to / "front.json", front(folder, "run"))
    if name == "short_train":
        for weights in sorted((to / "run" / "trainings").rglob("best.safetensors"))[1:]:
            weights.unlink()  # one is enough; those of SMT-T, which stands beside, have 45 MB
    if name != "proved":
        invoke(folder, "resume", "run", "--n", later, "--workers", "1")
        write(to / "later.json", front(folder, "run"))


def front(folder, run):
    """What `front --json` says, less what is said twice."""
    told = json.loads(invoke(folder, "front", run, "--json"))
    for row in (*told["front"], *told["baselines"]):
        del row["architecture"]
    return told


def fronts():
    """Golden fronts."""
    folder = Path(mkdtemp())
    found = {name: observe.search(name, folder / str(i)) for i, name in enumerate(observe.FRONTS)}
    write(HERE / "fronts.json", found)


def facts():
    """Keys, costs, digests, figures, latencies, words."""
    for name in ("keys", "count", "digests", "rate", "predict", "words"):
        write(HERE / f"{name}.json", getattr(observe, name)())


def table():
    """A table of a simulated machine, its journal just before the table, and one cut short."""
    to = HERE / "table"
    shutil.rmtree(to, ignore_errors=True)
    config = SMALL.config.model_dump(mode="json")
    write(to / "small.json", config)
    write(to / "sheet.json", SHEET.model_dump(mode="json"))
    folder = Path(mkdtemp())
    path = observe.calibrate(SMALL, SHEET, FakeBench(), folder / "whole")
    shutil.copytree(path.parent, to / "profiles")
    shutil.copy(HERE / "inputs" / "fake_cpu.yaml", to / "profiles")
    for name, chains in (("cut", 40), ("full", None)):
        bench = FakeBench()
        bench.kill_at = chains
        try:
            if chains is None:
                full = folder / name
                stopped_at_the_table(lambda b=bench, f=full: observe.calibrate(SMALL, SHEET, b, f))
            else:
                observe.calibrate(SMALL, SHEET, bench, folder / name)
        except Killed:
            pass
        shutil.copytree(folder / name, to / name)
        (work_file,) = (to / name).glob(".*.jsonl")
        work_file.rename(to / name / work_file.name.lstrip("."))
    found = observe.predict_by(path, SMALL)
    write(to / "predictions.json", {"predictions": found, "torch": torch.__version__})


def stopped_at_the_table(calibrate):
    """Die when all is measured and nothing is written."""
    from smt_nas.profilers import calibrate as module

    real = module.write_table

    def dies(path, table):
        raise Killed

    module.write_table = dies
    try:
        calibrate()
    finally:
        module.write_table = real


BENCH = ["bench", "build", "--data", "digits", "--space", "smt_micro", "--n", "3"]
BENCH += ["--recipe", "quick.yaml", "--macs", "2..8MMACs", "--workers", "1", "--device", "cpu"]


def bench():
    """A bench, and one that was killed after three of its five trainings."""
    folder, to = work(), HERE / "bench"
    shutil.rmtree(to, ignore_errors=True)
    invoke(folder, *BENCH, "--out", "whole")
    cut = [*BENCH, "--out", "cut"]
    killed(folder, cut, "smt_nas.train", "bench", "append", 3)
    for name in ("whole", "cut"):
        ignored = shutil.ignore_patterns(".lock", "trainings")
        shutil.copytree(folder / name, to / name, ignore=ignored)
    write(to / "show.json", json.loads(invoke(folder, "bench", "show", "whole/", "--json")))


TRAIN = ["train", "tiny.yaml", "--data", "digits", "--recipe", "small", "--epochs", "2"]
TRAIN += ["--set", "images=400", "--set", "batch_size=50", "--set", "ema.decay=0.9"]
TRAIN += ["--device", "cpu", "--workers", "0", "--keep", "1", "--save-updates", "3"]


def train():
    """A training that was killed within its second epoch, and what the whole one comes to."""
    folder, to = work(), HERE / "train"
    shutil.rmtree(to, ignore_errors=True)
    invoke(folder, *TRAIN, "--out", "whole", "--json")
    checkpoint = ("smt_nas.train", "loop", "save", 5)
    killed(folder, [*TRAIN, "--out", "cut"], *checkpoint)
    shutil.copytree(folder / "cut", to / "cut", ignore=shutil.ignore_patterns(".lock"))
    shutil.copytree(
        folder / "whole", to / "whole", ignore=shutil.ignore_patterns(".lock", "checkpoints")
    )
    (last,) = (folder / "whole" / "checkpoints").iterdir()
    expected = {
        "machine": observe.machine(),
        "last": observe.weights(last / "model.safetensors"),
        "evaluated": observe.weights(last),
        "best": observe.weights(folder / "whole"),
        "cut_best": observe.weights(folder / "cut"),
        "eval": json.loads(invoke(folder, "eval", "whole", "--json")),
        "eval_cut": json.loads(invoke(folder, "eval", "cut", "--split", "validation", "--json")),
    }
    write(to / "expected.json", expected)


def profiles():
    """Two saved profiles, a predicted one, and what `compare` says of the first two."""
    folder, to = work(), HERE / "profiles"
    shutil.rmtree(to, ignore_errors=True)
    to.mkdir()
    words = ["profile", "tiny.yaml", "--gpu", "cpu", "--threads", "1", "--seconds", "0.15"]
    for name in ("a", "b"):
        text = invoke(folder, *words, "--json")
        (folder / f"{name}.json").write_text(text)
        (to / f"{name}.json").write_text(json.dumps(json.loads(text), separators=(",", ":")) + "\n")
    write(to / "compared.json", json.loads(invoke(folder, "compare", "a.json", "b.json", "--json")))


def main():
    """Make all, or those named."""
    torch.set_num_threads(1)
    parts = {"facts": facts, "fronts": fronts, "table": table, "bench": bench, "train": train}
    parts |= {"profiles": profiles} | {f"run:{n}": (lambda n=n: run(n)) for n in RUNS}
    for name in sys.argv[1:] or parts:
        print(name, flush=True)
        parts[name]()


if __name__ == "__main__":
    main()
