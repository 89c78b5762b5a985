"""The search: evaluate, verify, write. One process, resumable at any moment.

The state is the study: what is left to do follows from the trials and notes that are there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import dataclass, field, replace

from smt_nas.evaluators import Evaluator, TrainingEvaluator
from smt_nas.evaluators.base import Stoppable
from smt_nas.evaluators.runner import EvaluationRunner
from smt_nas.files import shell_word
from smt_nas.runtime.engines.engine import Engine
from smt_nas.runtime.engines.engine_choice import (
    DEFAULT,
    EngineChoice,
    choose_engine,
    make_engine,
    open_engine,
)
from smt_nas.runtime.engines.gpu_assignment import list_assignable_gpus
from smt_nas.runtime.engines.process_pool import default_workers
from smt_nas.runtime.interrupts import InterruptWatch, hold_interrupts, watch_interrupts
from smt_nas.search.loop.listener import NullSearchProgress, SearchListener
from smt_nas.search.loop.loop_control import LoopControl, ReadTrials
from smt_nas.search.loop.queue_loop import QueueLoop
from smt_nas.search.loop.round_loop import RoundLoop, read_open_round
from smt_nas.search.loop.round_proposer import RoundProposer, count_batch
from smt_nas.search.loop.status import SearchStatus, measure_status
from smt_nas.search.loop.verify import verify_front
from smt_nas.search.problem.problem import Problem
from smt_nas.search.results.outcome import Outcome, collect_baselines, make_outcome
from smt_nas.search.results.results import write_front
from smt_nas.search.run_directory import RunDirectory
from smt_nas.search.stop_rule import StopReason, count_wanted
from smt_nas.search.storage.study import Study
from smt_nas.search.storage.study_notes import StudyNotes
from smt_nas.search.storage.trial import Trial
from smt_nas.search.watch.history_table import HistoryFile
from smt_nas.search.watch.stopping import WorkingTime, find_stop
from smt_nas.space import Genes
from smt_nas.space.baselines import baselines


@dataclass
class Search:
    """A search in its run directory. Made by `create_search` or `resume_search`.

    Attributes:
        directory: where it lives.
        problem: what is searched for.
        study: the trials.
        evaluator: None where formulas suffice, or where nothing will be evaluated.
        listener: hears what happens.
        workers: processes that evaluate and count networks, or another engine that evaluates;
            results do not depend on it.
        superseded: genes of networks that were tried before the evaluator changed; they are
            evaluated again first.
        clock: seconds that only grow, by which working time is counted.
    """

    directory: RunDirectory
    problem: Problem
    study: Study
    evaluator: Evaluator | None
    listener: SearchListener = field(default_factory=NullSearchProgress)
    workers: int | EngineChoice = 1
    superseded: Sequence[Genes] = ()
    clock: Callable[[], float] = time.monotonic
    _interrupts: InterruptWatch = field(default_factory=InterruptWatch, init=False, repr=False)
    _time: WorkingTime = field(init=False, repr=False)
    _history: HistoryFile = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._time = WorkingTime(self.directory.path, self.clock)
        self._history = HistoryFile(self.directory.path, self.problem)
        self.study.database.report = self.listener.say
        if isinstance(self.evaluator, Stoppable):
            self.evaluator = self.evaluator.begun_while(lambda: not self._interrupts.is_pending)

    def run(self) -> Outcome:
        """Do what is missing and write the front; Ctrl-C writes the front of what is there.

        Raises:
            ConfigError: the user's own function rates no network.
            StoreError: the run directory or the storage cannot be written; what is there stays.
        """
        with self._hold_directory():
            interrupted = False
            self._time.start()
            try:
                with watch_interrupts(self._interrupts):
                    self._search_and_verify()
            except KeyboardInterrupt:
                interrupted = True
                self.listener.interrupted()
            with hold_interrupts():
                return self._finish(interrupted)

    def _finish(self, interrupted: bool) -> Outcome:
        """Write what is there, which takes a moment: a Ctrl-C waits for it."""
        self._time.keep(at_once=True)
        outcome = replace(self.outcome(), interrupted=interrupted)
        with self.study.database.wait_for_lock("files"):
            write_front(self.directory.path, outcome.front, outcome.baselines)
            self._history.write(outcome.trials)
        return outcome

    def _search_and_verify(self) -> None:
        engine, settings = choose_engine(self.workers), self.directory.settings
        gpus = list_assignable_gpus() if self._is_in_workers else ()
        with ExitStack() as stack:
            workers = stack.enter_context(open_engine(replace(engine, gpus=gpus)))
            runner = self._make_runner(workers)
            trials = self._evaluate(runner)
            stack.enter_context(self.study.database.wait_for_lock("front"))
            self._evaluate_baselines(runner)
            if not settings.verify:
                return
            if engine.name != DEFAULT:  # what is counted and timed is so on this machine
                workers = stack.enter_context(make_engine(default_workers()))
            verify_front(self.study, trials, self.listener, workers, self._interrupts)

    @property
    def _is_in_workers(self) -> bool:
        choice = self.directory.settings.evaluator
        return choice is not None and not choice.handed_in and choice.entry.in_worker

    def _hold_directory(self) -> AbstractContextManager[object]:
        """Hold the run directory, unless its study is shared: then others may work in it too."""
        database = self.study.database
        return closing(database) if database.is_shared else self.directory.lock()

    def outcome(self) -> Outcome:
        """What is there now; reads only."""
        proposed, notes = self.study.trials(), self.study.read_notes()
        stopped_by = self.find_stop(proposed)
        return make_outcome(
            self.directory,
            self.problem,
            self.read_trials(),
            notes,
            has_enough=self._has_enough(proposed, notes),
            stopped_by=stopped_by if len(proposed) < self.directory.settings.n else None,
        )

    def read_trials(self) -> list[Trial]:
        """What was tried, and of a round that was stopped what is evaluated."""
        trials, notes = self.study.trials(), self.study.read_notes()
        if self._has_enough(trials, notes):
            return trials
        return [*trials, *read_open_round(trials, notes)]

    @property
    def batch(self) -> int:
        """Networks of a round."""
        return count_batch(self.directory.settings)

    def _has_enough(self, trials: Sequence[Trial], notes: StudyNotes) -> bool:
        if len(trials) < len(self.superseded):
            return False
        enough = len(trials) >= self.directory.settings.n or notes.exhausted
        return enough or self.find_stop(trials) is not None

    @property
    def worked_s(self) -> float:
        """Seconds that the run has worked, over all its starts."""
        return self._time.seconds

    def find_stop(self, trials: Sequence[Trial]) -> StopReason | None:
        """Why no networks are proposed after these trials, though more are wanted."""
        return find_stop(
            self.directory.settings.stop, self.problem, trials, self.batch, self.worked_s
        )

    def _make_runner(self, workers: Engine) -> EvaluationRunner:
        settings = self.directory.settings
        earlier = [t.evaluation for t in self.study.trials()]
        return EvaluationRunner(
            self.evaluator, workers, settings.evaluator, settings.timeout, earlier
        )

    def _evaluate(self, runner: EvaluationRunner) -> list[Trial]:
        """Evaluate what is missing: in order, or as a queue where others or workers evaluate."""
        settings, control = self.directory.settings, self._make_control()
        proposer = RoundProposer(self.study, settings, self.evaluator, self.superseded)
        loop: QueueLoop | RoundLoop
        if self.study.database.is_shared or runner.in_workers:
            loop = QueueLoop(self.study, runner, proposer, control)
        else:
            resume = f"smt-nas resume {shell_word(self.directory.path)}"
            loop = RoundLoop(self.study, runner, proposer, control, self.evaluator, resume)
        reason, trials = loop.run(), self.study.trials()
        if reason is not None:
            self.listener.stopped(reason, settings.stop, len(trials))
        elif loop.exhausted:
            self.study.read_notes().write_exhausted()
            wanted = count_wanted(settings.n)
            self.listener.exhausted(self.problem.space.name, len(trials), wanted)
        return trials

    def _make_control(self) -> LoopControl:
        superseded = len(self.superseded)
        return LoopControl(
            total=max(self.directory.settings.n, superseded),
            find_stop=lambda trials: self.find_stop(trials) if len(trials) >= superseded else None,
            has_time=self._has_time,
            keep_up=self._keep_up,
            history=self._history,
            listener=self.listener,
            interrupts=self._interrupts,
        )

    def _has_time(self) -> bool:
        minutes = self.directory.settings.stop.minutes
        return minutes is None or self._time.seconds < 60 * minutes

    def _keep_up(self, read_trials: ReadTrials) -> None:
        """A trial is stored: keep the time, and tell who watches."""
        self._time.keep()
        self.listener.progressed(lambda: self._measure_status(read_trials()))

    def _measure_status(self, trials: Sequence[Trial]) -> SearchStatus:
        notes, wanted = self.study.read_notes(), count_wanted(self.directory.settings.n)
        presets = collect_baselines(self.problem, notes)
        return measure_status(self.problem, trials, notes, presets, wanted)

    def _evaluate_baselines(self, runner: EvaluationRunner) -> None:
        if self.problem.evaluated_metric is None or self.evaluator is None:
            return
        notes = self.study.read_notes()
        presets = baselines(self.problem.space)
        evaluator = self.evaluator
        worth = evaluator.baselines if isinstance(evaluator, TrainingEvaluator) else presets
        todo = {name: presets[name] for name in worth if notes.read_baseline(name) is None}
        evaluations = runner.evaluate(list(todo.values()))
        for name, evaluation in zip(todo, evaluations, strict=True):
            notes.write_baseline(name, evaluation)
