"""Searches that are broken on the way, and what is lost.

    python -m benchmarks.faults --moments 50      # some minutes on two cores
    python -m benchmarks.faults kill hung         # some rows only

Each search is broken, gone on with until it is finished, and held against one that was not. The
evaluator is a user's function of some milliseconds in two worker processes, which notes each call.
A trial is lost where it is not in the study at the end, or with another figure; it ran twice where
it was evaluated again after it had been stored; `again` counts evaluations that were cut off by a
kill and so were begun anew. A front is wrong where front.csv differs.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import signal
import sqlite3
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib import import_module
from itertools import count
from pathlib import Path

import psutil

from smt_nas.errors import SmtNasError
from smt_nas.evaluators import choose_evaluator
from smt_nas.search import Search, Settings, create_search, resume_search
from smt_nas.search.storage import database
from smt_nas.search.storage.trial import Trial

N = 24
_FUNCTION = """
import os, signal, time

def rate(arch):
    with open(os.environ["FAULTS_LOG"], "a") as log:
        log.write(arch.key + "\\n")
    time.sleep(0.03)
    kind, at = os.environ.get("FAULTS_KIND"), arch.stages[2].dim % 3 == 0
    if kind == "hung" and at:
        time.sleep(3600)
    if kind == "memory" and at:
        held = bytearray(200_000_000)
        os.kill(os.getpid(), signal.SIGKILL)  # as the kernel does once memory ends
    return float(arch.stages[2].dim + arch.stages[0].depth) + arch.stages[1].dim / 1000
"""


@dataclass(frozen=True)
class Row:
    """What came of one kind of fault.

    Attributes:
        faults: how often the search was broken.
        failed: trials that failed, as they had to.
        lost: trials that are not there, or with another figure.
        twice: trials evaluated again after they had been stored.
        again: evaluations begun anew, as they were cut off.
        wrong: fronts that differ.
        note: what was told.
    """

    kind: str
    faults: int
    failed: int
    lost: int
    twice: int
    again: int
    wrong: int
    note: str = ""


class Bench:
    """A folder with one search in it."""

    def __init__(self, folder: Path, storage: str | None = None, timeout: float | None = None):
        self.folder = folder
        self.run = folder / "run"
        self.log = folder / "log"
        self.settings = Settings(
            space="smt_micro",
            objectives=("score", "macs"),
            strategy="random",
            evaluator=choose_evaluator("rated:rate", {}, 0),
            n=N,
            verify=False,
            storage=storage,
            timeout=timeout,
        )
        self.stored_before: Counter[str] = Counter()
        self.again: set[str] = set()

    def start(self, before: Callable[[], object] | None = None) -> int:
        """Run the search in a process of its own, or go on with it; its number."""
        self.note_stored()
        child = os.fork()
        if child:
            return child
        code = 3
        try:
            os.environ["FAULTS_LOG"] = str(self.log)
            with suppress(OSError):
                os.setpgid(0, 0)
            if before is not None:
                before()
            self._open().run()
            code = 0
        except SmtNasError as error:
            (self.folder / "told").write_text(str(error))
            code = 1
        finally:
            os._exit(code)

    def _open(self) -> Search:
        if (self.run / "run.yaml").is_file():
            return resume_search(self.run, storage=self.settings.storage, workers=2)
        return create_search(self.settings, self.run, workers=2)

    def finish(self, before: Callable[[], object] | None = None) -> int:
        """Go on until it ends by itself; its exit code."""
        return os.waitstatus_to_exitcode(os.waitpid(self.start(before), 0)[1])

    def calls(self) -> list[str]:
        """Keys in the order of the calls."""
        return self.log.read_text().split() if self.log.is_file() else []

    def note_stored(self) -> None:
        """Remember how often those that are stored were called by now."""
        if not (self.run / "run.yaml").is_file():
            return
        with suppress(SmtNasError):
            calls = Counter(self.calls())
            for trial in self.trials():
                self.stored_before.setdefault(trial.key, calls[trial.key])

    def trials(self) -> list[Trial]:
        """All that are stored."""
        search = resume_search(self.run, storage=self.settings.storage, read_only=True)
        return search.study.trials()

    def compare(self, kind: str, faults: int, whole: Bench, note: str = "") -> Row:
        """Hold it against a search that was not broken."""
        mine = {t.number: (t.key, t.evaluation.value) for t in self.trials()}
        theirs = {t.number: (t.key, t.evaluation.value) for t in whole.trials()}
        failed = sum(value is None for _, value in mine.values())
        allowed = {"hung", "memory"}
        lost = sum(
            mine.get(number) != right
            and not (kind in allowed and mine.get(number, ("", 0.0)) == (right[0], None))
            for number, right in theirs.items()
        )
        calls = Counter(self.calls())
        twice = sum(calls[key] > before for key, before in self.stored_before.items())
        again = sum(calls.values()) - len(calls)
        wrong = kind not in allowed and self._front() != whole._front()
        return Row(kind, faults, failed, lost, twice, again, int(wrong), note)

    def _front(self) -> str:
        return (self.run / "front.csv").read_text()

    def told(self) -> str:
        """The line that a stopped search ended with."""
        file = self.folder / "told"
        return file.read_text().partition("(")[2].partition(")")[0][:60] if file.is_file() else ""


def kill_at_random(bench: Bench, rng: random.Random, moments: int) -> int:
    """SIGKILL of the driver, or of a worker, at random moments; how many hit."""
    hits = 0
    while hits < moments:
        child = bench.start()
        time.sleep(rng.uniform(0.0, 5.0))
        victims = [psutil.Process(child)]
        if rng.random() < 0.5:
            victims = victims[0].children() or victims
        with suppress(psutil.NoSuchProcess):
            ended = os.waitpid(child, os.WNOHANG)[0]
            if ended:
                break
            rng.choice(victims).kill()
            hits += 1
        if victims[0].pid == child:
            os.waitpid(child, 0)
        elif not _ends_soon(child):
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    return hits


def _ends_soon(child: int) -> bool:
    for _ in range(20):
        if os.waitpid(child, os.WNOHANG)[0]:
            return True
        time.sleep(0.1)
    return False


def limit_files() -> None:
    """A full disk: no file grows beyond what the study needs for some trials."""
    size = 176 * 1024
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def set_clock_back() -> None:
    """Each look at the clock of the day is an hour before the last one."""
    from datetime import datetime, tzinfo

    import optuna.storages._rdb.storage as storage

    start, looks = time.time(), count(1)

    class Backwards(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Backwards:
            return cls.fromtimestamp(start - 3600 * next(looks))

    setattr(storage, "datetime", Backwards)  # noqa: B010, a name that Optuna does not export
    time.time = lambda: start - 3600 * next(looks)


@contextmanager
def lock_database(file: Path, seconds: float) -> Iterator[None]:
    """Hold the SQLite file locked meanwhile, as a backup may."""
    connection = sqlite3.connect(file, timeout=60.0, check_same_thread=False)
    connection.execute("BEGIN EXCLUSIVE")

    def release() -> None:
        time.sleep(seconds)
        connection.rollback()
        connection.close()

    thread = threading.Thread(target=release)
    thread.start()
    yield
    thread.join()


def wait_for_calls(bench: Bench, calls: int) -> None:
    """Until the function was called so often."""
    while len(bench.calls()) < calls:
        time.sleep(0.02)


def run_kind(kind: str, folder: Path, whole: Bench, moments: int, seed: int) -> list[Row]:
    """The rows of one kind of fault."""
    rng = random.Random(seed)
    if kind == "kill":
        rows: list[Row] = []
        hits = 0
        while hits < moments:
            bench = Bench(_make(folder, f"{kind}{len(rows)}"))
            hit = kill_at_random(bench, rng, min(5, moments - hits))
            assert bench.finish() == 0
            rows.append(bench.compare(kind, hit, whole))
            hits += hit
        return [_sum(rows)]
    bench = Bench(_make(folder, kind), timeout=1.0 if kind == "hung" else None)
    if kind == "disk":
        code = bench.finish(limit_files)
        told = bench.told()
        assert code == 1, code
        again = bench.finish()
        assert again == 0, (bench.folder / "told").read_text()
        return [bench.compare(kind, 1, whole, told)]
    if kind == "clock":
        assert bench.finish(set_clock_back) == 0
        return [bench.compare(kind, 1, whole)]
    if kind in ("hung", "memory"):
        assert bench.finish(lambda: os.environ.__setitem__("FAULTS_KIND", kind)) == 0
        reason = next(t.evaluation.failure for t in bench.trials() if t.evaluation.failure)
        row = bench.compare(kind, 1, whole, reason[:60])
        return [replace(row, faults=row.failed)]
    if kind == "locked":
        rows = []
        for seconds in (3.0, 30.0):
            bench = Bench(_make(folder, f"{kind}{seconds:g}"))
            child = bench.start()
            wait_for_calls(bench, 5)
            with lock_database(bench.run / "study.db", seconds):
                code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            told = bench.told() if code else ""
            assert code == 0 or bench.finish() == 0
            rows.append(bench.compare(f"{kind} {seconds:g} s", 1, whole, told))
        return rows
    return _run_server(folder, whole)


def _run_server(folder: Path, whole: Bench) -> list[Row]:
    """A PostgreSQL server that is restarted, and one that goes away for good."""
    server = import_module("tests.fakes.postgres").Server()  # of a checkout
    rows = []
    server.start()
    try:
        for kind in ("server restarted", "server away"):
            bench = Bench(_make(folder, kind.replace(" ", "-")), server.make_empty())
            child = bench.start(None if kind == "server restarted" else give_up_soon)
            wait_for_calls(bench, 6)
            server.stop()
            if kind == "server restarted":
                time.sleep(2.0)
                server.start()
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            if kind == "server away":
                assert code == 1
                server.start()
                code = bench.finish()
            assert code == 0
            rows.append(bench.compare(kind, 1, whole, bench.told()))
    finally:
        server.close()
    return rows


def give_up_soon() -> None:
    """Wait for a lost server for a second, not for a minute."""
    database.WAITS_S = database.WAITS_S[:2]


def _make(folder: Path, name: str) -> Path:
    place = folder / name
    place.mkdir()
    return place


def _sum(rows: list[Row]) -> Row:
    total = {
        name: sum(getattr(row, name) for row in rows)
        for name in ("faults", "failed", "lost", "twice", "again", "wrong")
    }
    return Row(rows[0].kind, **total, note=f"{len(rows)} searches")


KINDS = ("kill", "disk", "locked", "server", "hung", "memory", "clock")


def main() -> None:
    """Break searches, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("kinds", nargs="*", choices=[*KINDS, []], default=[])
    parser.add_argument("--moments", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="smt-nas-faults-") as text:
        folder = Path(text)
        (folder / "rated.py").write_text(_FUNCTION)
        os.chdir(folder)
        whole = Bench(_make(folder, "whole"))
        assert whole.finish() == 0
        print(f"{N} trials a search; {len(whole.calls())} calls with the presets")
        print(f"{'fault':18} faults failed lost twice again wrong fronts")
        for kind in args.kinds or KINDS:
            for r in run_kind(kind, folder, whole, args.moments, args.seed):
                figures = f"{r.failed:6} {r.lost:4} {r.twice:5} {r.again:5} {r.wrong:12}"
                print(f"{r.kind:18} {r.faults:6} {figures}  {r.note}", flush=True)


if __name__ == "__main__":
    main()
