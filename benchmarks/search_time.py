"""How long the default search takes, part by part: an earlier checkout against this one.

    git worktree add /tmp/before 11cabf9
    python -m benchmarks.search_time /tmp/before --rounds 3

Both builds run in turns, each search in a process and a run directory of its own, so that what the
machine is busy with slows both. Shown are medians over the rounds; both find the same front.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PARTS = ("start", "survey", "screen", "evaluate", "count", "time", "write")
_CHILD = """
import json, sys, time
began = float(sys.argv[1])
marks = [("start", began)]
import smt_nas.cli.search
from smt_nas.search import Settings, create_search
try:
    from smt_nas.search.loop.listener import NullSearchProgress
except ModuleNotFoundError:  # of before the rooms were redrawn
    from smt_nas.search.listener import NullSearchProgress

class Recorder(NullSearchProgress):
    def step(self, phase, done, total):
        if marks[-1][0] != phase:
            marks.append((phase, time.time()))

marks.append(("survey", time.time()))
settings = Settings(budgets=json.loads(sys.argv[3]), n=32)
search = create_search(settings, __import__("pathlib").Path(sys.argv[2]), listener=Recorder(),
                       workers=None)
outcome = search.run()
marks.append(("end", time.time()))
spent = {}
for (name, at), (_, end) in zip(marks, marks[1:]):
    spent[name] = spent.get(name, 0.0) + end - at
rows = [m.measured.get("latency_ms") for m in [*outcome.front, *outcome.baselines]]
statuses = [m.status for m in rows if m is not None]
print(json.dumps({"spent": spent, "front": [r.arch.key for r in outcome.front],
                  "ok": statuses.count("ok"), "timed": len(statuses)}))
"""


def run_once(checkout: Path, budgets: list[str]) -> dict[str, object]:
    """One search of a checkout: seconds by part, keys of its front, how many timings are ok."""
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    with tempfile.TemporaryDirectory() as folder:
        began = time.time()
        words = [str(began), str(Path(folder) / "run"), json.dumps(budgets)]
        output = subprocess.run(
            [sys.executable, "-c", _CHILD, *words],
            env=environment,
            cwd=folder,
            stdout=subprocess.PIPE,
            check=True,
        ).stdout
        took = time.time() - began
    result: dict[str, object] = json.loads(output)
    spent = dict(result["spent"])  # type: ignore[call-overload]
    known = {name: spent.get(name, 0.0) for name in PARTS[:-1]}
    return {**result, "spent": {**known, "write": took - sum(known.values()), "all": took}}


def show(builds: dict[str, list[dict[str, object]]]) -> None:
    """A table of medians; the last column is new over old."""
    medians = {
        name: {
            part: statistics.median(run["spent"][part] for run in runs)  # type: ignore[index]
            for part in (*PARTS, "all")
        }
        for name, runs in builds.items()
    }
    print("| part, s | before | now | now / before |\n|---|---|---|---|")
    for part in (*PARTS, "all"):
        old, new = (medians[name][part] for name in ("before", "now"))
        print(f"| {part} | {old:.1f} | {new:.1f} | {new / old:.2f} |")
    every = [run for runs in builds.values() for run in runs]
    print(f"\nDifferent fronts: {len({json.dumps(run['front']) for run in every})}.")
    for name, runs in builds.items():
        shares = ", ".join(f"{run['ok']} of {run['timed']}" for run in runs)
        print(f"Timings that are ok, {name}: {shares}.")


def main() -> None:
    """Read the command line, run in turns, print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("before", type=Path, help="a checkout of an earlier commit")
    parser.add_argument("--now", type=Path, help="another checkout than this one")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--budget", action="append")
    given = parser.parse_args()
    now = given.now or Path(__file__).parents[1]
    checkouts = {"before": given.before.resolve(), "now": now.resolve()}
    builds: dict[str, list[dict[str, object]]] = {name: [] for name in checkouts}
    for number in range(given.rounds):
        order = list(checkouts) if number % 2 == 0 else list(reversed(checkouts))
        for name in order:
            builds[name].append(run_once(checkouts[name], given.budget or ["2.4GFLOPs"]))
            print(name, json.dumps(builds[name][-1]["spent"]), file=sys.stderr, flush=True)
    show(builds)


if __name__ == "__main__":
    main()
