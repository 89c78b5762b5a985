"""Round after round in this process: propose one, evaluate it in order, store every trial."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from smt_nas.errors import format_count
from smt_nas.evaluators import Evaluation, Evaluator, RoundEvaluator
from smt_nas.evaluators.runner import EvaluationRunner
from smt_nas.search.loop.loop_control import LoopControl
from smt_nas.search.loop.round_proposer import RoundProposer
from smt_nas.search.stop_rule import StopReason
from smt_nas.search.storage.study import Study
from smt_nas.search.storage.study_notes import FinishedNetwork, StudyNotes
from smt_nas.search.storage.trial import Trial, predict_network
from smt_nas.space import Genes


@dataclass
class RoundLoop:
    """Evaluates the rounds of a study that no other process works on.

    Attributes:
        study: that holds the trials.
        runner: evaluates.
        proposer: what to evaluate next.
        control: how far it goes.
        evaluator: may have evaluated some networks of a round that was stopped.
        resume_command: what goes on with such a round.
        exhausted: no networks are left.
    """

    study: Study
    runner: EvaluationRunner
    proposer: RoundProposer
    control: LoopControl
    evaluator: Evaluator | None
    resume_command: str
    exhausted: bool = field(default=False, init=False)

    def run(self) -> StopReason | None:
        """Evaluate until there are enough trials.

        Returns: why it was enough before all networks were tried; None where they are.

        Raises:
            ConfigError: the user's own function rates no network.
            StoreError: the run directory or the storage cannot be written; what is stored stays.
        """
        control, trials = self.control, self.study.trials()
        self._evaluate_superseded(trials)
        while len(trials) < control.total:
            reason = control.find_stop(trials)
            if reason is not None:
                return reason
            control.listener.step("screen", 0, None)
            todo = self.proposer.propose(trials)[: control.total - len(trials)]
            if not len(todo):
                self.exhausted = True
                return None
            self._evaluate(todo, trials, control.shown_total, control.has_time)
            self.proposer.assess(trials)
            control.history.keep(trials)
        return None

    def _evaluate_superseded(self, trials: list[Trial]) -> None:
        """Try the networks of before the evaluator changed, however little time there is."""
        total = len(self.proposer.superseded)
        while len(trials) < total:
            self._evaluate(self.proposer.propose(trials), trials, total, lambda: True)

    def _evaluate(
        self, todo: Genes, trials: list[Trial], total: int | None, has_time: Callable[[], bool]
    ) -> None:
        """Evaluate networks (n, G), and add each to the study and to `trials` when it is there.

        After Ctrl-C, or once there is no more time, those that run are finished, and no others.
        """
        listener, interrupts = self.control.listener, self.control.interrupts
        space = self.study.problem.space
        listener.step("evaluate", len(trials), total)

        def proceed() -> bool:
            return has_time() and not interrupts.is_pending

        try:
            with interrupts.finish_running(listener.finishing):
                done = 0
                for evaluations in self._group(self.runner.evaluate_genes(space, todo, proceed)):
                    genes = todo[done : done + len(evaluations)]
                    trials.extend(self.study.add_all(genes, evaluations))
                    done += len(evaluations)
                    self.control.keep_up(lambda: trials)
                    listener.step("evaluate", len(trials), total)
            interrupts.check()
        except KeyboardInterrupt:
            self._keep_finished(todo)
            raise

    def _group(self, evaluations: Iterator[Evaluation]) -> Iterator[list[Evaluation]]:
        """Those that are there at once are stored at once; a costly one as soon as it is there."""
        if self.runner.at_once and not self.runner.in_workers:
            return iter([list(evaluations)])
        return ([evaluation] for evaluation in evaluations)

    def _keep_finished(self, todo: Genes) -> None:
        """Note which networks of a round are evaluated, though the round as a whole is not.

        They are no trials yet: a round goes on as if it had not been stopped.
        """
        if not isinstance(self.evaluator, RoundEvaluator):
            return
        archs = self.study.problem.space.decode(todo)
        finished = self.evaluator.read_finished(archs)
        networks = [
            FinishedNetwork(
                genes=tuple(row.tolist()),
                key=arch.key,
                evaluation=finished[arch.key].to_record(),
                predictions=predict_network(self.study.problem, row),
            )
            for row, arch in zip(todo, archs, strict=True)
            if arch.key in finished
        ]
        self.study.read_notes().write_open_round(networks)
        self.control.listener.say(
            f"{len(networks)} of the {format_count(len(archs), 'network')} of this round "
            f"{'is' if len(networks) == 1 else 'are'} evaluated, and of use for the front. "
            f"`{self.resume_command}` goes on with the others where they were stopped."
        )


def read_open_round(trials: Sequence[Trial], notes: StudyNotes) -> list[Trial]:
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
