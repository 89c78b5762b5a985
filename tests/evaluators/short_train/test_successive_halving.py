"""Halving with made-up accuracies: who is trained how far, and what is said of the others."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smt_nas import costs
from smt_nas.errors import StoreError
from smt_nas.evaluators.short_train.successive_halving import Race
from smt_nas.runtime.progress import EpochMetrics, NullProgress
from smt_nas.space import SearchSpace
from smt_nas.train.train_config import RunOptions, TrainRequest
from smt_nas.train.train_job import TrainJob
from smt_nas.train.training_state import TrainResult

SPACE = SearchSpace.load("smt_micro")
GENES = SPACE.sample(np.random.default_rng(3), 12)
ARCHS = SPACE.decode(GENES[np.argsort(costs.estimate(SPACE, GENES).macs)])  # cheapest first


def row(epoch, top1):
    return EpochMetrics(epoch, val_top1=top1, val_loss=1.0, seconds=2.0, images_per_s=50.0)


def finished(job, top1, stop_requested=False):
    rows = tuple(row(e, top1) for e in range(1, job.options.until_epoch + 1))
    return TrainResult(
        run=job.folder,
        arch=job.arch,
        epochs=len(rows),
        updates=0,
        skipped=0,
        best=None,
        history=rows,
        validation_n=100,
        images_per_s=50.0,
        waiting_share=0.0,
        peak_memory_mb=None,
        unreadable={},
        interrupted=False,
        weights=None,
        stop_requested=stop_requested,
    )


class Told(NullProgress):
    def __init__(self):
        self.lines, self.steps = [], []

    def say(self, text):
        self.lines.append(text)

    def step(self, phase, done, total):
        self.steps.append((phase, done, total))


class Stadium:
    """Trains by a function of the network's place and the epoch; remembers what it trained."""

    def __init__(self, tmp_path, answer, n=12, rungs=(1, 3, 9)):
        self.answer, self.trained, self.told = answer, [], Told()
        self.jobs = [
            TrainJob(arch, TrainRequest(arch.key, "digits"), RunOptions(), tmp_path / arch.key)
            for arch in ARCHS[:n]
        ]
        self.race = Race(rungs, 3, self.train, self.told)

    def train(self, jobs):
        for job in jobs:
            place = ARCHS.index(job.arch)
            self.trained.append((job.options.until_epoch, place))
            found = self.answer(place, job.options.until_epoch)
            yield finished(job, found) if isinstance(found, float | None) else found

    def run(self):
        found = self.race.run(self.jobs)
        assert set(found) == {job.arch.key for job in self.jobs}
        return [found[job.arch.key] for job in self.jobs]

    def places(self, epoch):
        return sorted(place for e, place in self.trained if e == epoch)


def test_accuracy_that_grows_with_cost_leaves_a_spread(tmp_path):
    stadium = Stadium(tmp_path, lambda place, epoch: place / 20)
    found = stadium.run()
    assert stadium.places(1) == list(range(12))
    assert len(stadium.places(3)) == 4 and {0, 11} < set(stadium.places(3))
    assert stadium.places(9) == [0, 11]
    whole = [e for e in found if e.value is not None]
    assert [e.value for e in whole] == [0.0, 0.55]
    assert all(e.failure is None and e.provenance == "trained" for e in whole)
    assert whole[0].seconds == 18.0
    assert whole[0].components == {
        "epochs": 9.0,
        "val_loss": 1.0,
        "images_per_s": 50.0,
        "seconds": 18.0,
    }
    early, late = found[min({*range(12)} - {*stadium.places(3)})], found[stadium.places(3)[1]]
    assert early.failure.startswith("stopped after 1 of 9 epochs: val top-1 ")
    assert early.failure.endswith("not dominated, but only 4 of 12 had a place")
    assert late.failure.startswith("stopped after 3 of 9 epochs: val top-1 ")
    assert late.components["epochs"] == 3.0 and late.seconds == 6.0
    assert stadium.told.lines[:2] == [
        "Training 12 networks to epoch 1 of 9.",
        "Training 4 networks to epoch 3 of 9.",
    ]
    assert stadium.told.steps[-1] == ("epochs", 32, 32)


def test_one_network_that_is_best_in_both_stops_the_others(tmp_path):
    stadium = Stadium(tmp_path, lambda place, epoch: 0.9 - place / 100, n=3, rungs=(1, 4))
    first, second, third = stadium.run()
    assert first.value == 0.9
    for other in (second, third):
        assert other.value is None
        assert f"dominated by {ARCHS[0].key} (val top-1 90.0 % at " in other.failure
    assert second.components == {"val_top1_at_rung": 0.89, "epochs": 1.0}


def test_alone_it_goes_all_the_way(tmp_path):
    stadium = Stadium(tmp_path, lambda place, epoch: 0.1, n=1)
    assert stadium.run()[0].value == 0.1
    assert stadium.trained == [(1, 0), (3, 0), (9, 0)]


def test_the_next_best_takes_the_place_of_one_that_fails_later(tmp_path):
    def answer(place, epoch):
        return "diverged" if (place, epoch) == (0, 3) else 0.9 - place / 100

    stadium = Stadium(tmp_path, answer, n=3, rungs=(1, 3))
    first, second, third = stadium.run()
    assert (first.value, first.failure) == (None, "diverged")
    assert second.value == 0.89
    assert third.stopped
    assert f"{ARCHS[0].key} failed: diverged" in stadium.told.lines


def test_those_that_were_stopped_run_again_where_all_others_failed(tmp_path):
    def answer(place, epoch):
        return "diverged" if (place, epoch) == (0, 9) else 0.9 - place / 100

    stadium = Stadium(tmp_path, answer, n=3)
    first, second, third = stadium.run()
    assert (first.failure, second.value) == ("diverged", 0.89)
    assert third.stopped


def test_a_split_that_cannot_be_read_is_a_failure(tmp_path):
    stadium = Stadium(tmp_path, lambda place, epoch: None if place == 1 else 0.5, n=3)
    assert "no image of the validation split" in stadium.run()[1].failure


def test_a_full_disk_ends_it(tmp_path):
    stadium = Stadium(tmp_path, lambda place, epoch: StoreError("no space"))
    with pytest.raises(StoreError, match="no space"):
        stadium.run()
    assert stadium.trained == [(1, 0)]


def test_an_interrupt_ends_it(tmp_path, monkeypatch):
    stadium = Stadium(tmp_path, lambda place, epoch: 0.5)
    job = stadium.jobs[0].until(1)
    race = Race((1, 3), 3, lambda jobs: [finished(job, 0.5, True)] * len(jobs), NullProgress())
    with pytest.raises(KeyboardInterrupt):
        race.run(stadium.jobs)


def test_trainings_that_are_not_begun_end_it_once_those_that_run_have_arrived(tmp_path):
    stadium = Stadium(tmp_path, lambda place, epoch: 0.5)

    def train_three(jobs):
        return list(stadium.train(jobs))[:3]

    with pytest.raises(KeyboardInterrupt):
        Race((1, 3), 3, train_three, stadium.told).run(stadium.jobs)
    assert stadium.told.steps[-1][1] == 3.0


@settings(max_examples=40)
@given(st.data())
def test_someone_always_reaches_the_end_unless_all_fail(tmp_path_factory, data):
    n = data.draw(st.integers(1, 12))
    top1 = data.draw(st.lists(st.floats(0, 1), min_size=n, max_size=n))
    fails = data.draw(st.lists(st.sampled_from([0, 1, 3, 9]), min_size=n, max_size=n))
    stadium = Stadium(
        tmp_path_factory.getbasetemp(),
        lambda place, epoch: "failed" if fails[place] == epoch else top1[place],
        n=n,
    )
    found = stadium.run()
    assert any(e.value is not None for e in found) or {e.failure for e in found} == {"failed"}
    for place, evaluation in enumerate(found):
        assert (evaluation.value is None) == (evaluation.failure is not None)
        assert evaluation.value is None or evaluation.value == top1[place]
        assert evaluation.failure != "failed" or fails[place]
