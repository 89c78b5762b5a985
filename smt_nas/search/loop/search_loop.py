"""The search: evaluate, verify, write. One process, resumable at any moment.

The state is the study. Round r of B networks proposes trials B r to B r + B - 1 from the trials
before it and `default_rng([seed, B r])`, so a search that was killed proposes the same again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from smt_nas.arch import Architecture
from smt_nas.errors import format_count
from smt_nas.evaluators import (
    BatchEvaluator,
    Evaluation,
    Evaluator,
    RoundEvaluator,
    TrainingEvaluator,
)
from smt_nas.evaluators.base import Stoppable
from smt_nas.evaluators.capacity import published_figures
from smt_nas.evaluators.runner import EvaluationRunner, Proceed
from smt_nas.files import shell_word
from smt_nas.runtime.engines.engine import (
    DEFAULT,
    Engine,
    EngineChoice,
    choose_engine,
    make_engine,
    open_engine,
)
from smt_nas.runtime.engines.gpu_assignment import list_assignable_gpus
from smt_nas.runtime.engines.process_pool import default_workers
from smt_nas.runtime.interrupts import InterruptWatch, watch_interrupts
from smt_nas.search.loop.listener import NullSearchProgress, SearchListener
from smt_nas.search.loop.queue_loop import QueueLoop
from smt_nas.search.loop.status import SearchStatus, measure_status
from smt_nas.search.loop.verify import verify_networks
from smt_nas.search.problem.objectives import Floats
from smt_nas.search.problem.problem import Problem
from smt_nas.search.proposal.strategy import LearningStrategy, Prior, Strategy
from smt_nas.search.results.outcome import Outcome
from smt_nas.search.results.results import (
    Result,
    compare_with_presets,
    make_result,
    measure_prediction_errors,
    select_front,
    write_front,
)
from smt_nas.search.run_directory import RunDirectory
from smt_nas.search.storage.study import Study
from smt_nas.search.storage.study_notes import FinishedNetwork, StudyNotes
from smt_nas.search.storage.trial import OpenTrial, Trial, make_history, predict_network
from smt_nas.search.strategies import SCREENED_BATCH, make_strategy
from smt_nas.search.watch.history_table import HistoryFile
from smt_nas.search.watch.stopping import StopReason, WorkingTime, count_wanted, find_stop
from smt_nas.space import Genes, SearchSpace
from smt_nas.space.baselines import baselines

_COUNTED = ("params", "macs")  # what a score is compared with, so that nobody takes it for accuracy


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
            self._verify(trials, workers)

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
        settings, notes = self.directory.settings, self.study.read_notes()
        proposed = self.study.trials()
        enough, stopped_by = self._has_enough(proposed, notes), self.find_stop(proposed)
        trials = self.read_trials()
        front = [self._add_verification(r, notes) for r in self._select_candidates(trials, notes)]
        baseline_rows = [self._add_verification(r, notes) for r in self._collect_baselines(notes)]
        front = compare_with_presets(front, baseline_rows)
        verified = all(self._is_verified(r, notes) for r in (*front, *baseline_rows))
        return Outcome(
            path=self.directory.path,
            settings=settings,
            problem=self.problem,
            front=front,
            baselines=baseline_rows,
            failed_verification=self._collect_failed(trials, notes),
            trials=trials,
            kendall_taus=_compare_with_costs(self.problem, trials),
            prediction_errors=measure_prediction_errors(front),
            evidence=self.directory.evidence,
            surrogate_accuracies=notes.surrogate_accuracies,
            finished=enough and (verified or not settings.verify),
            stopped_by=stopped_by if len(proposed) < settings.n else None,
        )

    def read_trials(self) -> list[Trial]:
        """What was tried, and of a round that was stopped what is evaluated."""
        trials, notes = self.study.trials(), self.study.read_notes()
        if self._has_enough(trials, notes):
            return trials
        return [*trials, *self._read_open_round(trials, notes)]

    @property
    def batch(self) -> int:
        """Networks of a round."""
        return self.directory.settings.batch or SCREENED_BATCH

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
        if self.study.database.is_shared or runner.in_workers:
            return self._evaluate_queue(runner)
        settings, trials = self.directory.settings, self.study.trials()
        self._evaluate_again(runner, trials)
        proposer = make_strategy(settings.strategy, self.problem, self._make_prior())
        while len(trials) < settings.n:
            reason = self.find_stop(trials)
            if reason is not None:
                self.listener.stopped(reason, settings.stop, len(trials))
                break
            self.listener.step("screen", 0, None)
            todo = self._propose(proposer, trials)[: settings.n - len(trials)]
            if not len(todo):
                self.study.read_notes().write_exhausted()
                self.listener.exhausted(self.problem.space.name, len(trials), self._wanted)
                break
            self._evaluate_trials(runner, todo, trials, self._wanted, self._has_time)
            self._assess(proposer, trials)
            self._history.keep(trials)
        return trials

    def _measure_status(self, trials: Sequence[Trial]) -> SearchStatus:
        notes = self.study.read_notes()
        presets = self._collect_baselines(notes)
        return measure_status(self.problem, trials, notes, presets, self._wanted)

    def _keep_up(self) -> None:
        """A trial is stored: keep the time, and tell who watches."""
        self._time.keep()
        self.listener.progressed(lambda: self._measure_status(self.study.trials()))

    @property
    def _wanted(self) -> int | None:
        return count_wanted(self.directory.settings.n)

    def _has_time(self) -> bool:
        minutes = self.directory.settings.stop.minutes
        return minutes is None or self._time.seconds < 60 * minutes

    def _evaluate_queue(self, runner: EvaluationRunner) -> list[Trial]:
        """The same where trials may end in any order, or other processes take some."""
        settings = self.directory.settings
        proposer = make_strategy(settings.strategy, self.problem, self._make_prior())

        def propose(trials: Sequence[Trial], waiting: Sequence[OpenTrial]) -> Genes:
            if trials and not waiting:
                self._assess(proposer, trials)
            self._history.keep(trials)
            self.listener.step("screen", 0, None)
            count = len(trials) + len(waiting)
            if count < len(self.superseded):
                return np.array(self.superseded[count : (count // self.batch + 1) * self.batch])
            return self._propose(proposer, trials, waiting)

        loop = QueueLoop(
            study=self.study,
            runner=runner,
            propose=propose,
            total=max(settings.n, len(self.superseded)),
            most=self.batch if runner.at_once else 1,
            find_stop=lambda t: self.find_stop(t) if len(t) >= len(self.superseded) else None,
            has_time=self._has_time,
            kept=self._keep_up,
            listener=self.listener,
            interrupts=self._interrupts,
        )
        reason = loop.run()
        trials = self.study.trials()
        if trials and not self.study.read_open():
            self._assess(proposer, trials)
        if reason is not None:
            self.listener.stopped(reason, settings.stop, len(trials))
        elif loop.exhausted:
            self.study.read_notes().write_exhausted()
            self.listener.exhausted(self.problem.space.name, len(trials), self._wanted)
        return trials

    def _evaluate_again(self, runner: EvaluationRunner, trials: list[Trial]) -> None:
        """Try the networks of before the evaluator changed, round by round, as they were tried."""
        every = self.superseded
        while len(trials) < len(every):
            end = (len(trials) // self.batch + 1) * self.batch
            self._evaluate_trials(runner, np.array(every[len(trials) : end]), trials, len(every))

    def _evaluate_trials(
        self,
        runner: EvaluationRunner,
        todo: Genes,
        trials: list[Trial],
        total: int | None,
        has_time: Proceed = lambda: True,
    ) -> None:
        """Evaluate networks (n, G), and add each to the study and to `trials` when it is there.

        After Ctrl-C, or once there is no more time, those that run are finished, and no others.
        """
        archs = self.problem.space.decode(todo)
        self.listener.step("evaluate", len(trials), total)

        def proceed() -> bool:
            return has_time() and not self._interrupts.is_pending

        try:
            with self._interrupts.finish_running(self.listener.finishing):
                # those that are not begun have no evaluation
                for genes, evaluation in zip(todo, runner.evaluate(archs, proceed), strict=False):
                    trials.append(self.study.add(genes, evaluation))
                    self._time.keep()
                    self.listener.progressed(partial(self._measure_status, trials))
                    self.listener.step("evaluate", len(trials), total)
            self._interrupts.check()
        except KeyboardInterrupt:
            self._keep_finished(todo, archs)
            raise

    def _keep_finished(self, todo: Genes, archs: Sequence[Architecture]) -> None:
        """Note which networks of a round are evaluated, though the round as a whole is not.

        They are no trials yet: a round goes on as if it had not been stopped.
        """
        if not isinstance(self.evaluator, RoundEvaluator):
            return
        finished = self.evaluator.read_finished(archs)
        networks = [
            FinishedNetwork(
                genes=tuple(row.tolist()),
                key=arch.key,
                evaluation=finished[arch.key].to_record(),
                predictions=predict_network(self.problem, row),
            )
            for row, arch in zip(todo, archs, strict=True)
            if arch.key in finished
        ]
        self.study.read_notes().write_open_round(networks)
        self.listener.say(
            f"{len(networks)} of the {format_count(len(archs), 'network')} of this round "
            f"{'is' if len(networks) == 1 else 'are'} evaluated, and of use for the front. "
            f"`smt-nas resume {shell_word(self.directory.path)}` goes on with the others where "
            "they were stopped."
        )

    def _read_open_round(self, trials: Sequence[Trial], notes: StudyNotes) -> list[Trial]:
        """Networks of a round that was stopped, as the trials that they will be."""
        known = {t.key for t in trials}
        networks = [network for network in notes.read_open_round() if network.key not in known]
        return [
            Trial(
                number=number,
                genes=np.array(network.genes, dtype=np.int64),
                key=network.key,
                evaluation=Evaluation.from_record(network.evaluation),
                predictions=network.predictions,
            )
            for number, network in enumerate(networks, len(trials))
        ]

    def _make_prior(self) -> Prior | None:
        evaluator, space = self.evaluator, self.problem.space
        if not isinstance(evaluator, BatchEvaluator):
            return None
        return Prior(partial(_predict_compared, evaluator, space), is_final=evaluator.is_final)

    def _propose(
        self, proposer: Strategy, trials: Sequence[Trial], waiting: Sequence[OpenTrial] = ()
    ) -> Genes:
        """What is left of the round that the next trial belongs to; (n, G)."""
        every: list[Trial | OpenTrial] = [*trials, *waiting]
        every.sort(key=lambda trial: trial.number)
        first = len(every) // self.batch * self.batch
        rng = np.random.default_rng([self.directory.settings.seed, first])
        proposed = proposer.propose(make_history(self.problem, every[:first]), self.batch, rng)
        tried = {t.genes.tobytes() for t in every[first:]}
        return proposed[[row.tobytes() not in tried for row in proposed]]

    def _assess(self, proposer: Strategy, trials: Sequence[Trial]) -> None:
        """Note how well a strategy's model foretold the round that is complete now."""
        first = (len(trials) - 1) // self.batch * self.batch
        if not isinstance(proposer, LearningStrategy) or self.problem.evaluated_metric is None:
            return
        before = make_history(self.problem, trials[:first])
        genes, figures = make_history(self.problem, trials[first:]).complete
        accuracy = proposer.assess(before, genes, figures)
        if accuracy is not None:
            self.study.read_notes().write_surrogate_accuracy(accuracy)

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

    def _collect_baselines(self, notes: StudyNotes) -> list[Result]:
        results = []
        for name, arch in baselines(self.problem.space).items():
            evaluation = notes.read_baseline(name)
            predictions = self.problem.predict_preset(name)
            result = make_result(self.problem, name, arch, evaluation, predictions)
            results.append(replace(result, published=published_figures(arch)))
        return results

    def _verify(self, trials: Sequence[Trial], workers: Engine) -> None:
        """Verify the front; a network that fails makes room for those it dominated."""
        verified: list[str] | None = None
        while True:
            self._interrupts.check()
            notes = self.study.read_notes()
            members = self._select_candidates(trials, notes)
            keys = [r.arch.key for r in members]
            if keys == verified:
                return
            verified = keys
            verify_networks(
                self.study, members, self._collect_baselines(notes), self.listener, workers
            )

    def _add_verification(self, r: Result, notes: StudyNotes) -> Result:
        targets = [q.target for q in self.problem.timed_metrics if q.target is not None]
        return r.with_verification(self.problem, notes.read_verification(r.arch.key, targets))

    def _is_verified(self, r: Result, notes: StudyNotes) -> bool:
        targets = self.problem.local_targets
        verification = notes.read_verification(r.arch.key, targets)
        return verification is not None and verification.is_complete(targets)

    def _select_candidates(self, trials: Sequence[Trial], notes: StudyNotes) -> list[Result]:
        failed = notes.failed_keys
        return select_front(self.problem, [t for t in trials if t.key not in failed])

    def _collect_failed(self, trials: Sequence[Trial], notes: StudyNotes) -> list[Result]:
        """Tried networks that failed verification."""
        failed = notes.failed_keys
        dropped = [t for t in trials if t.key in failed]
        archs = [self.problem.space.decode(t.genes[None])[0] for t in dropped]
        return [
            self._add_verification(
                make_result(self.problem, str(t.number), a, None, t.predictions), notes
            )
            for t, a in zip(dropped, archs, strict=True)
        ]


def _predict_compared(evaluator: BatchEvaluator, space: SearchSpace, genes: Genes) -> Floats:
    return evaluator.predict(space, genes).compared


def _compare_with_costs(problem: Problem, trials: Sequence[Trial]) -> dict[str, float]:
    """Kendall tau of the evaluator's values to costs, where it is defined."""
    evaluated = [t for t in trials if t.evaluation.value is not None]
    if problem.evaluated_metric is None or len(evaluated) < 3:
        return {}
    from scipy.stats import kendalltau

    costs = problem.costs(np.array([t.genes for t in evaluated]))
    values = [t.evaluation.value for t in evaluated]
    taus = {name: float(kendalltau(values, costs[name]).statistic) for name in _COUNTED}
    return {name: tau for name, tau in taus.items() if np.isfinite(tau)}
