"""How far the trainings of a rung are, told again and again while they are under way.

Trainings run in other processes, maybe on other machines; what they share is the folder of each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Thread

from smt_nas.runtime.progress import ProgressListener
from smt_nas.train.train_job import TrainJob, read_epochs

_EVERY_S = 1.0


@dataclass
class RungProgress:
    """Trainings of one rung, in the order in which their answers come.

    Attributes:
        jobs: the trainings.
        start: epochs that each has behind it.
        end: epoch that each goes on to.
        before: epochs that were trained in rungs before.
        planned: epochs of all rungs.
        listener: hears of it.
        arrived: how many of `jobs` have answered.
    """

    jobs: Sequence[TrainJob]
    start: int
    end: int
    before: float
    planned: float
    listener: ProgressListener
    arrived: int = 0

    def tell(self) -> None:
        """Tell how many epochs were trained so far, in all."""
        each = self.end - self.start
        under_way = (read_epochs(job.folder) - self.start for job in self.jobs[self.arrived :])
        trained = self.arrived * each + sum(min(max(epochs, 0.0), each) for epochs in under_way)
        self.listener.step("epochs", min(self.before + trained, self.planned), self.planned)

    def arrive(self) -> None:
        """Note the next answer."""
        self.arrived += 1
        self.tell()

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Tell it every second, too."""
        self.tell()
        ended = Event()

        def tell_again() -> None:
            while not ended.wait(_EVERY_S):
                self.tell()

        thread = Thread(target=tell_again, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
