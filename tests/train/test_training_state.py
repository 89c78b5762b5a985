"""How far a training is: what is counted, and what checkpoints keep of it."""

import json
from dataclasses import asdict

from smt_nas.runtime.progress import EpochMetrics
from smt_nas.train.training_state import TrainingState

STORED = {
    "update": 9,
    "in_a_row": 1,
    "epoch": {
        "loss": 2.5,
        "made": 2,
        "skipped": 1,
        "images": 60,
        "seconds": 3.0,
        "waited": 0.5,
    },
    "best": {"epoch": 1, "val_top1": 0.5},
    "history": [{"epoch": 1, "val_top1": 0.5, "skipped": 2}, {"epoch": 2, "of_tomorrow": 1.0}],
}


def test_what_a_checkpoint_keeps_comes_back():
    state = TrainingState()
    for loss, is_updated in ((0.5, True), (9.9, False)):
        state.add_update(40, 2.0, 0.5)
        state.add_outcome(loss, is_updated)
    assert state.close_epoch(EpochMetrics(epoch=1, update=2, val_top1=0.25, skipped=1))
    state.add_update(40, 2.0, 0.5)
    state.add_outcome(0.5, True)
    kept = json.loads(json.dumps(state.to_dict()))
    assert list(kept) == ["update", "in_a_row", "epoch", "best", "history"]
    assert TrainingState.from_dict(kept) == state
    assert (state.update, state.in_a_row, state.skipped) == (3, 0, 1)


def test_fields_that_an_old_checkpoint_lacks_are_not_measured_and_newer_ones_left_out():
    state = TrainingState.from_dict(STORED)
    assert (state.update, state.in_a_row, state.epoch.mean_loss) == (9, 1, 1.25)
    assert state.skipped == 3
    assert state.best == EpochMetrics(epoch=1, val_top1=0.5)
    assert state.history[1] == EpochMetrics(epoch=2)
    assert list(asdict(state.history[0])) == list(asdict(EpochMetrics(epoch=1)))


def test_the_best_epoch_is_the_first_of_the_most_accurate_that_was_evaluated():
    state = TrainingState()
    accuracies = (None, 0.3, 0.5, 0.5, None, 0.4)
    better = [state.close_epoch(EpochMetrics(i, val_top1=a)) for i, a in enumerate(accuracies)]
    assert better == [False, True, True, False, False, False]
    assert state.best.epoch == 2


def test_rates_are_means_over_the_time_they_took():
    state = TrainingState()
    assert (state.images_per_s, state.waiting_share, state.epoch.images_per_s) == (None,) * 3
    for epoch, seconds, rate, share in ((1, 1.0, 10.0, 0.5), (2, 3.0, 20.0, 0.1)):
        state.close_epoch(
            EpochMetrics(epoch, seconds=seconds, images_per_s=rate, waiting_share=share)
        )
    assert (state.images_per_s, state.waiting_share) == (70 / 4, 0.8 / 4)
