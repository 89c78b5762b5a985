"""Epochs of a rung: by what its trainings wrote, and by the answers that came."""

from smt_nas.arch import PRESETS
from smt_nas.evaluators.short_train.ranking import count_epochs
from smt_nas.evaluators.short_train.rung_progress import RungProgress
from smt_nas.runtime.progress import NullProgress
from smt_nas.train.train_config import RunOptions, TrainRequest
from smt_nas.train.train_job import TrainJob
from tests.fakes.waiting import wait_until


class Heard(NullProgress):
    def __init__(self):
        self.steps = []

    def step(self, phase, done, total):
        self.steps.append((phase, done, total))


def job(folder):
    folder.mkdir()
    return TrainJob(PRESETS["smt_t"], TrainRequest("x", "digits"), RunOptions(), folder)


def test_epochs_under_way_count_by_their_files(tmp_path):
    jobs, heard = [job(tmp_path / name) for name in "abc"], Heard()
    (tmp_path / "a" / ".progress").write_text("2.5\n")
    (tmp_path / "b" / ".progress").write_text("9\n")  # more than it was to train
    (tmp_path / "c" / ".progress").write_text("half a li")
    progress = RungProgress(jobs, 1, 4, before=10, planned=19, listener=heard)
    progress.tell()
    progress.arrive()
    progress.arrive()
    assert heard.steps == [("epochs", 10 + 1.5 + 3, 19), ("epochs", 16, 19), ("epochs", 16, 19)]


def test_what_is_written_later_is_told_without_an_answer(tmp_path):
    jobs, heard = [job(tmp_path / "a")], Heard()
    with RungProgress(jobs, 0, 4, before=0, planned=4, listener=heard).watch():
        assert heard.steps == [("epochs", 0, 4)]
        (tmp_path / "a" / ".progress").write_text("1.5\n")
        wait_until(lambda: ("epochs", 1.5, 4) in heard.steps)


def test_planned_epochs():
    assert count_epochs(12, (1, 4), 3) == 12 + 4 * 3
    assert count_epochs(4, (4,), 3, start=1) == 12
