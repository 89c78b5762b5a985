"""Working through the trials of a study: take one, evaluate it, end it, until there are enough."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field

import numpy as np

from smt_nas.arch import Architecture
from smt_nas.errors import StoreError
from smt_nas.evaluators import Evaluation
from smt_nas.evaluators.runner import EvaluationRunner
from smt_nas.search.loop.loop_control import LoopControl
from smt_nas.search.loop.round_proposer import RoundProposer
from smt_nas.search.stop_rule import StopReason
from smt_nas.search.storage.heartbeats import HeartbeatWatch
from smt_nas.search.storage.study import Study
from smt_nas.search.storage.trial import OpenTrial, Trial
from smt_nas.search.storage.trial_queue import TrialQueue
from smt_nas.space import Genes

_POLL_S = 0.5
_NONE: Genes = np.empty((0, 0), dtype=np.int64)


@dataclass
class QueueLoop:
    """Evaluates trials of a study, alone or beside other processes.

    Attributes:
        study: that holds them.
        runner: evaluates.
        proposer: what to evaluate next.
        control: how far it goes.
        exhausted: no networks are left.
    """

    study: Study
    runner: EvaluationRunner
    proposer: RoundProposer
    control: LoopControl
    exhausted: bool = field(default=False, init=False)
    _finished: int = field(default=0, init=False, repr=False)

    def run(self) -> StopReason | None:
        """Evaluate until enough trials are finished, by whichever process.

        Returns: why it was enough before all networks were tried; None where they are.

        Raises:
            ConfigError: the user's own function rates no network.
            StoreError: the database cannot be used; what is stored stays.
        """
        with self._open_queue() as queue:
            reason = self._work_through(queue)
        trials = self.study.trials()
        if trials and not self.study.read_open():
            self.proposer.assess(trials)
        return reason

    def _work_through(self, queue: TrialQueue) -> StopReason | None:
        control = self.control
        while True:
            trials = self.study.trials()
            self._finished = len(trials)
            if self._finished >= control.total:
                return None
            reason = control.find_stop(trials)
            if reason is not None or (self.exhausted and not self.study.read_open()):
                return reason
            taken = queue.take(self._propose_next, self._at_once)
            control.listener.step("evaluate", self._finished, control.shown_total)
            if taken:
                self._evaluate(queue, taken)
            else:
                time.sleep(_POLL_S)  # others evaluate what is left
            control.interrupts.check()

    def _evaluate(self, queue: TrialQueue, taken: list[OpenTrial]) -> None:
        """Evaluate trials; after Ctrl-C those that run, and no others."""
        with self.control.interrupts.finish_running(self.control.listener.finishing):
            if self.runner.in_workers:
                self._evaluate_in_workers(queue, taken)
            else:
                self._evaluate_here(queue, taken)

    @contextmanager
    def _open_queue(self) -> Iterator[TrialQueue]:
        """The queue; what was taken and not evaluated waits again, however this ends."""
        with ExitStack() as stack:
            watch = None
            if self.study.database.is_shared:
                watch = stack.enter_context(HeartbeatWatch(self.study))
            queue = TrialQueue(self.study, watch)
            try:
                yield queue
            except BaseException:  # a lost server cannot be written to, a full folder can be left
                with suppress(StoreError):
                    queue.release()
                raise

    @property
    def _at_once(self) -> int:
        """Trials that are taken together: workers ask for one after the other."""
        if self.runner.in_workers or not self.runner.at_once:
            return 1
        return self.proposer.batch

    def _propose_next(self, waiting: Sequence[OpenTrial]) -> Genes:
        trials = self.study.trials()
        missing = max(0, self.control.total - len(trials) - len(waiting))
        proposed = self._propose_round(trials, waiting)[:missing] if missing else _NONE
        self.exhausted = bool(missing) and not len(proposed)
        return proposed

    def _propose_round(self, trials: Sequence[Trial], waiting: Sequence[OpenTrial]) -> Genes:
        if trials and not waiting:
            self.proposer.assess(trials)
        self.control.history.keep(trials)
        self.control.listener.step("screen", 0, None)
        return self.proposer.propose(trials, waiting)

    def _evaluate_in_workers(self, queue: TrialQueue, taken: list[OpenTrial]) -> None:
        """Evaluate trials, and more while there are, each as soon as a worker is free."""

        control, before = self.control, self._finished

        def list_networks() -> Iterator[Architecture]:
            shown = 0
            while shown < len(taken):
                yield self._decode(taken[shown])
                shown += 1
                is_enough = before + len(taken) >= control.total  # of a round that was to be longer
                if control.has_time() and not control.interrupts.is_pending and not is_enough:
                    taken.extend(queue.take(lambda _: _NONE))

        for number, evaluation in self.runner.evaluate_unordered(list_networks()):
            self._finish(queue, taken[number], evaluation)

    def _evaluate_here(self, queue: TrialQueue, taken: Sequence[OpenTrial]) -> None:
        evaluations = self.runner.evaluate([self._decode(trial) for trial in taken])
        for trial, evaluation in zip(taken, evaluations, strict=True):
            self._finish(queue, trial, evaluation)

    def _finish(self, queue: TrialQueue, trial: OpenTrial, evaluation: Evaluation) -> None:
        queue.finish(trial, evaluation)
        self._finished += 1
        control = self.control
        control.keep_up(self.study.trials)
        finished = min(self._finished, control.total)
        control.listener.step("evaluate", finished, control.shown_total)

    def _decode(self, trial: OpenTrial) -> Architecture:
        return self.study.problem.space.decode(trial.genes[None])[0]
