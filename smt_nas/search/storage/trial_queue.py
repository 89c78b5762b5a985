"""The trials that a study still has to evaluate, and which process evaluates which.

Whatever several processes might do at once is done under a lock of the server: trials of processes
that died are put back, new ones are proposed, and one is taken. Where the server is lost amid that,
it begins anew from what is stored by then. A trial is evaluated by the process that took it last.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace

from smt_nas.evaluators import Evaluation
from smt_nas.metrics import Provenance
from smt_nas.search.storage.heartbeats import HeartbeatWatch
from smt_nas.search.storage.study import Study
from smt_nas.search.storage.trial import OpenTrial
from smt_nas.space import Genes

_POLL_S = 0.1
ATTEMPTS = 2  # processes that may die over a trial: then it has failed
Propose = Callable[[Sequence[OpenTrial]], Genes]
"""Networks (n, G) to enqueue where no trial waits, given the open ones; none where there are
enough."""


class TrialQueue:
    """Takes trials, and ends them.

    Args:
        study: that holds them.
        watch: of the processes that share the study; None where this one has it for itself. Then
            what an earlier process left is evaluated again, however often.
    """

    def __init__(self, study: Study, watch: HeartbeatWatch | None = None) -> None:
        self._study = study
        self._watch = watch
        self._worker = uuid.uuid4().hex[:8] if watch is None else watch.worker
        self._held: dict[int, OpenTrial] = {}

    def take(self, propose: Propose, most: int = 1) -> list[OpenTrial]:
        """Take up to `most` trials; none where no trial waits and none is proposed.

        Raises:
            StoreError: the database cannot be used.
        """
        while True:
            taken = self._study.database.call(lambda: self._take_locked(propose, most))
            if taken is not None:
                return taken
            time.sleep(_POLL_S)  # another process is at it

    def finish(self, trial: OpenTrial, evaluation: Evaluation) -> None:
        """End a trial that was taken; nothing, where others took this process for dead.

        Raises:
            StoreError: the database cannot be used.
        """
        self._study.finish(trial, evaluation)
        self._held.pop(trial.id, None)

    def release(self) -> None:
        """Put back what is taken and not finished, as if it had not been.

        Raises:
            StoreError: the database cannot be used; a server that is lost is not waited for.
        """
        for trial in list(self._held.values()):
            self._study.put_back(trial, trial.attempt - 1, retry=False)
            del self._held[trial.id]

    def _take_locked(self, propose: Propose, most: int) -> list[OpenTrial] | None:
        with self._study.database.locked("queue") as is_held:
            if not is_held:
                return None
            trials = self._mend(self._study.read_open())
            if trials is None:
                return []
            if not any(_is_free(t) for t in trials):
                self._study.enqueue(propose(trials))
                trials = self._study.read_open()
            lost = [t for t in trials if self._is_lost_here(t)]
            waiting = [t for t in trials if _is_free(t)]
            taken = lost[:most]
            taken += [t for t in waiting[: most - len(taken)] if self._study.take(t, self._worker)]
        taken = [
            replace(t, worker=self._worker, attempt=t.attempt + (not t.is_running), is_running=True)
            for t in taken
        ]
        self._held |= {t.id: t for t in taken}
        return taken

    def _mend(self, trials: Sequence[OpenTrial]) -> list[OpenTrial] | None:
        """Put back or end what dead processes left; None where it is not sure yet who is dead."""
        is_mended = False
        for trial in trials:
            if trial.is_running and trial.worker != self._worker:
                life = "dead" if self._watch is None else self._watch.judge(trial.worker or "")
                if life == "unsure" and not any(_is_free(t) for t in trials):
                    return None
                if life == "dead":
                    self._put_back(trial)
                    is_mended = True
        return self._study.read_open() if is_mended else list(trials)

    def _put_back(self, trial: OpenTrial) -> None:
        if trial.evaluation is not None:  # evaluated, and died before it could end it
            self._study.finish(trial, trial.evaluation)
        elif self._watch is None:
            self._study.put_back(trial, 0)
        elif trial.attempt >= ATTEMPTS:
            self._study.finish(trial, self._lose(trial))
        else:
            self._study.put_back(trial, trial.attempt)

    def _lose(self, trial: OpenTrial) -> Evaluation:
        metric = self._study.problem.evaluated_metric
        provenance: Provenance = "exact" if metric is None else metric.metric.provenance
        host = (trial.worker or "").partition(":")[0]
        failure = f"the processes that evaluated it died, {trial.attempt} times (last on {host})"
        return Evaluation(None, provenance, failure=failure)

    def _is_lost_here(self, trial: OpenTrial) -> bool:
        """Whether this process took it, and did not hear so: the server was lost meanwhile."""
        is_own = trial.is_running and trial.worker == self._worker
        return is_own and trial.id not in self._held


def _is_free(trial: OpenTrial) -> bool:
    return not trial.is_running
