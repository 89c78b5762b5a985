"""Signs of life of the processes that share a study.

Each process counts up in the study's notes. Who watches goes by whether the count moves, and by
its own monotonic clock for how long: clocks that are wrong, or are set back, change nothing. Of a
process of the same system it is asked whether it is still there: a killed one is told at once.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import psutil

from smt_nas.errors import StoreError
from smt_nas.search.storage.study import Study
from smt_nas.search.storage.study_notes import Heartbeat

INTERVAL_S = 10.0
GRACE_S = 60.0
"""A process that gives no sign for so long is taken for dead."""
_LATE = 3.0  # intervals between two looks, from which on this process was the one that slept
Life = Literal["alive", "dead", "unsure"]


@dataclass(frozen=True)
class _Sight:
    """What was last seen of a process.

    Attributes:
        heartbeat: its last.
        since: when it was first seen so, by the monotonic clock.
        moved: it gave an earlier one while this process watched.
    """

    heartbeat: Heartbeat
    since: float
    moved: bool = False


class HeartbeatWatch:
    """Gives signs of life of this process, in a thread, and watches those of others.

    A context manager.

    Args:
        study: that is shared.
        interval_s: between two signs.
        grace_s: from the last sign of a process to its death.
    """

    def __init__(
        self, study: Study, interval_s: float = INTERVAL_S, grace_s: float = GRACE_S
    ) -> None:
        self.worker = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._study = study
        self._interval_s = interval_s
        self._grace_s = grace_s
        self._kernel = _name_kernel()
        self._count = 0
        self._looked = time.monotonic()
        self._sights: dict[str, _Sight] = {}
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._beat()
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._end.set()
        self._thread.join(self._interval_s)
        try:
            self._beat(ended=True)
        except StoreError:  # the server is away: others will see that the signs have ended
            return

    def judge(self, worker: str) -> Life:
        """Whether a process lives, as far as this one can tell by now."""
        if worker == self.worker:
            return "alive"
        sight = self._sights.get(worker)
        if sight is None:  # it came after the last look, or never gave a sign
            self._look()
            sight = self._sights.get(worker)
        if sight is None or sight.heartbeat.ended or self._is_gone(sight.heartbeat):
            return "dead"
        if self._looked - sight.since >= self._grace_s:
            return "dead"
        return "alive" if sight.moved else "unsure"

    def _is_gone(self, heartbeat: Heartbeat) -> bool:
        """Whether it was a process of this system, and is there no more."""
        if heartbeat.kernel is None or heartbeat.kernel != self._kernel:
            return False
        try:
            return psutil.Process(heartbeat.pid).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True
        except psutil.Error:
            return False

    def _run(self) -> None:
        while not self._end.wait(self._interval_s):
            try:
                self._beat()
                self._look()
            except StoreError:  # the loop meets it too, and waits for the server
                continue

    def _beat(self, ended: bool = False) -> None:
        heartbeat = Heartbeat(count=self._count, ended=ended, kernel=self._kernel, pid=os.getpid())
        self._count += 1
        self._study.write_heartbeat(self.worker, heartbeat)

    def _look(self) -> None:
        heartbeats, now = self._study.read_heartbeats(), time.monotonic()
        slept = now - self._looked > _LATE * self._interval_s
        sights = {}
        for worker, heartbeat in heartbeats.items():
            before = self._sights.get(worker)
            if before is None:
                sights[worker] = _Sight(heartbeat, now)
            elif before.heartbeat != heartbeat:
                sights[worker] = _Sight(heartbeat, now, moved=True)
            else:
                since = now if slept else before.since
                sights[worker] = _Sight(heartbeat, since, before.moved)
        self._sights, self._looked = sights, now


def find_living(study: Study, patience_s: float = 1.5 * INTERVAL_S) -> str | None:
    """Name a process that works on a study, other than this one; None where none gives a sign.

    Raises:
        StoreError: the database cannot be used.
    """
    watch = HeartbeatWatch(study)
    workers = [w for w in study.read_heartbeats() if watch.judge(w) == "unsure"]
    if not workers:
        return None
    time.sleep(patience_s)
    watch._look()
    return next((w for w in workers if watch.judge(w) == "alive"), None)


def _name_kernel() -> str | None:
    """Within what a process number means one process: a boot, and a namespace; None elsewhere."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return None
