"""A branch of a longer training ends as one that was trained alone, bit for bit."""

from dataclasses import replace

import pytest

from smt_nas.errors import StoreError
from smt_nas.train.schedule import branches
from smt_nas.train.schedule.branches import branch_training
from tests.fakes.images import few_digits
from tests.fakes.trainings import (
    SHORT,
    KillAt,
    Killed,
    assert_same_tensors,
    last_checkpoint,
    resume,
    start,
)

TRUNK = replace(
    SHORT,
    epochs=5,
    changes=("batch_size=20", "warmup_epochs=0.3", "schedule=constant", "ema.decay=0.9"),
)
BRANCH = replace(TRUNK, epochs=2)  # its rate falls from update 10 of 12, inside its second epoch


@pytest.fixture(autouse=True, scope="module")
def few_images():
    with few_digits(10):
        yield


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Both trainings, each by itself."""
    folder = tmp_path_factory.mktemp("alone")
    for name, request in (("trunk", TRUNK), ("branch", BRANCH)):
        start(request, folder / name)
    return folder


def test_trunk_and_branch_end_as_if_each_had_been_alone(alone, tmp_path):
    trunk, branch = tmp_path / "trunk", tmp_path / "branch"
    stopped = start(TRUNK, trunk, True, until_fall_of=2)
    assert (stopped.updates, stopped.interrupted) == (10, False)
    again = start(TRUNK, trunk, True, until_fall_of=2)  # it stands there already
    assert again.updates == 10
    assert branch_training(trunk, branch, 2)
    ended = start(BRANCH, branch, True)
    start(TRUNK, trunk, True)
    for name in ("trunk", "branch"):
        assert_same_tensors(last_checkpoint(alone / name), last_checkpoint(tmp_path / name))
    best = "best.safetensors"
    assert (alone / "branch" / best).read_bytes() == (branch / best).read_bytes()
    assert [m.epoch for m in ended.history] == [1, 2] and ended.best.val_top1 is not None
    assert (branch / "metrics.csv").read_text().count("\n") == 3


def test_killed_anywhere_it_ends_the_same(alone, tmp_path):
    trunk, branch = tmp_path / "trunk", tmp_path / "branch"
    with pytest.raises(Killed):
        start(TRUNK, trunk, True, KillAt(8), save_updates=3, until_fall_of=2)
    assert not branch_training(trunk, branch, 2) and not branch.exists()  # too early
    start(TRUNK, trunk, True, until_fall_of=2)
    (tmp_path / ".branch.new").mkdir()  # as a process leaves it that is killed in branching
    (tmp_path / ".branch.new" / "arch.yaml").write_text("half")
    assert branch_training(trunk, branch, 2)
    with pytest.raises(Killed):
        start(BRANCH, branch, True, KillAt(11), save_updates=1)
    with pytest.raises(Killed):
        start(TRUNK, trunk, True, KillAt(17), save_updates=1)
    resume(branch)
    resume(trunk)
    for name in ("trunk", "branch"):
        assert_same_tensors(last_checkpoint(alone / name), last_checkpoint(tmp_path / name))


def test_a_trunk_that_is_past_the_place_gives_no_branch(alone, tmp_path):
    assert not branch_training(alone / "trunk", tmp_path / "branch", 2)
    assert not branch_training(tmp_path / "none", tmp_path / "branch", 2)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_no_branch(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    start(TRUNK, tmp_path / "trunk", True, until_fall_of=2)
    monkeypatch.setattr(branches.shutil, "copy", fail)
    with pytest.raises(StoreError, match=r"branch: cannot be written \(No space left on device\)"):
        branch_training(tmp_path / "trunk", tmp_path / "branch", 2)
    assert [p.name for p in tmp_path.iterdir()] == ["trunk"]
