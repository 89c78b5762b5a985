"""Checkpoints: whole or not there, whatever kills the process or fills the disk."""

import errno
import os
import resource
import shutil
import signal
import subprocess

import pytest
import torch

from smt_nas.errors import StoreError
from smt_nas.train.weights import checkpoint
from smt_nas.train.weights.card import parse_card
from smt_nas.train.weights.checkpoint import find_latest, save_checkpoint, save_weights
from smt_nas.train.weights.tensors import read_metadata, read_tensors, write_tensors
from tests.fakes.weights import TINY, card


def saved(run, update, ema=False, keep=2, size=4):
    value = float(update)
    weights = {"w": torch.full((size,), value, dtype=torch.float64), "n": torch.tensor(update)}
    state = {
        "optimizer": {0: {"m": torch.full((size,), -value)}},
        "update": update,
        "pair": (1, None),
    }
    average = {k: v + 1 for k, v in weights.items()} if ema else None
    return save_checkpoint(
        run, update, card(weights="ema" if ema else "model"), weights, average, state, keep
    )


def names(run):
    return sorted(os.listdir(run / "checkpoints"))


def silent(line):
    pytest.fail(f"nothing was to be said: {line}")


def whole(run, update):
    """Whether the newest checkpoint is that of an update, in every number."""
    found = find_latest(run, lambda line: None)
    assert found is not None and found.update == update
    assert found.load_weights()["w"].tolist() == [float(update)] * len(found.load_weights()["w"])
    assert found.load_state()["update"] == update and found.load_state()["pair"] == (1, None)
    return True


@pytest.mark.parametrize("ema", [False, True])
def test_what_was_saved_comes_back(ema, tmp_path):
    made = saved(tmp_path, 123, ema)
    assert made.path == tmp_path / "checkpoints" / "update-0000123"
    assert find_latest(tmp_path, silent) == made and whole(tmp_path, 123)
    assert made.load_state()["optimizer"][0]["m"].tolist() == [-123.0] * 4
    average = made.load_ema()
    assert (average is None) is not ema
    assert average is None or average["w"].tolist() == [124.0] * 4
    assert made.eval_weights.name == ("ema.safetensors" if ema else "model.safetensors")
    assert made.card == card(weights="ema" if ema else "model")


def test_figures_stand_with_the_weights_they_are_of(tmp_path):
    made = saved(tmp_path, 1, ema=True)
    cards = {n: parse_card(read_metadata(made.path / n), made.path) for n in os.listdir(made.path)}
    assert cards["ema.safetensors"].validation == {"top1": 50.0, "loss": float("inf")}
    assert cards["model.safetensors"].weights == "model"
    assert cards["model.safetensors"].validation is None


def test_a_card_of_many_classes_is_small():
    many = tuple(f"n{i:08d}, a name of some length" for i in range(21_841))
    big = card(arch=TINY.model_copy(update={"num_classes": 21_841}), classes=many)
    metadata = big.to_metadata()
    assert sum(map(len, metadata.values())) < 1_000_000
    assert parse_card(metadata, None) == big


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "Restore"),
        ("[]", r"must be of version 1 \(got None\)"),
        ('{"schema_version": 2}', r"must be of version 1 \(got 2\)"),
        ('{"schema_version": 1}', "is missing"),
    ],
)
def test_a_card_that_is_not_ours_is_told(text, told, tmp_path):
    with pytest.raises(StoreError, match=told):
        parse_card({"smt_nas.card": text}, tmp_path / "w.safetensors")


def test_a_card_s_classes_are_those_of_its_head():
    with pytest.raises(ValueError, match="2 names for 3"):
        card(classes=("a", "b"))
    with pytest.raises(ValueError, match="same channels"):
        card(std=(0.2,))


def test_without_a_checkpoint_there_is_none(tmp_path):
    assert find_latest(tmp_path, silent) is None
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "update-x").mkdir()
    assert find_latest(tmp_path, silent) is None


def test_the_last_ones_are_kept(tmp_path):
    for update in (1, 20, 3_000_000, 99_999_999):
        saved(tmp_path, update, keep=3)
    assert names(tmp_path) == ["update-0000020", "update-3000000", "update-99999999"]
    assert whole(tmp_path, 99_999_999)  # by number, not by name
    saved(tmp_path, 100_000_000, keep=1)
    assert names(tmp_path) == ["update-100000000"]


def test_an_update_can_be_saved_again(tmp_path):
    saved(tmp_path, 1)
    saved(tmp_path, 5)
    made = saved(tmp_path, 5, ema=True)
    assert names(tmp_path) == ["update-0000001", "update-0000005"]
    assert find_latest(tmp_path, silent) == made and made.load_ema() is not None


@pytest.mark.parametrize("name", ["model.safetensors", "ema.safetensors", "state.safetensors"])
@pytest.mark.parametrize("damage", ["removed", "cut", "empty", "foreign"])
def test_a_damaged_one_is_passed_over(name, damage, tmp_path):
    saved(tmp_path, 1, ema=True)
    file = saved(tmp_path, 2, ema=True).path / name
    content = {"cut": file.read_bytes()[:-1], "empty": b"", "foreign": b"PK\x03\x04 something else"}
    file.unlink() if damage == "removed" else file.write_bytes(content[damage])
    said = []
    found = find_latest(tmp_path, said.append)
    assert found.update == 1 and len(said) == 1
    assert (
        "update-0000002 is passed over" in said[0] and str(file) in said[0] and "\n" not in said[0]
    )


def test_a_damaged_one_does_not_stay_the_newest(tmp_path):
    saved(tmp_path, 1)
    (saved(tmp_path, 9).path / "model.safetensors").write_bytes(b"")
    saved(tmp_path, 2)
    assert names(tmp_path) == ["update-0000001", "update-0000002"]


def test_a_state_of_another_hand_is_told(tmp_path):
    made = saved(tmp_path, 1)
    write_tensors(made.path / "state.safetensors", {}, {"smt_nas.parts": "model.safetensors"})
    with pytest.raises(StoreError, match="must hold the state of a training"):
        made.load_state()
    with pytest.raises(StoreError, match="has no card"):
        assert made.card
    said = []
    assert find_latest(tmp_path, said.append) is None and "is not of a checkpoint" in said[0]


def in_a_child(run):
    """Run in a forked process. Returns how it ended: None for by itself, else the signal."""
    child = os.fork()
    if child == 0:
        try:
            run()
        except BaseException:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def die_at(step):
    """From now on, kill this process where it makes its n-th call to the disk."""
    left = [step]

    def dying(function, after):
        def call(*args, **kwargs):
            left[0] -= 1
            if left[0] < 0 and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            result = function(*args, **kwargs)
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return call

    import safetensors.torch

    for owner, name, after in (
        (os, "fsync", False),
        (os, "rename", False),
        (os, "replace", False),
        (os, "rmdir", True),
        (os, "unlink", True),
        (os, "mkdir", True),
        (safetensors.torch, "save_file", True),
    ):
        setattr(owner, name, dying(getattr(owner, name), after))


@pytest.mark.parametrize("update", [2, 1], ids=["another update", "the same update"])
def test_a_kill_at_any_call_leaves_a_whole_one(update, tmp_path):
    step, ended = 0, signal.SIGKILL
    while ended == signal.SIGKILL:
        run = tmp_path / str(step)
        saved(run, 1)

        def killed(run=run, step=step):
            die_at(step)
            saved(run, update, ema=True, keep=1)

        ended = in_a_child(killed)
        found = find_latest(run, silent)
        assert whole(run, 1 if found.update == 1 else 2)
        visible = [n for n in names(run) if not n.startswith(".")]
        assert len(visible) <= 2 and len(names(run)) - len(visible) <= 2
        for name in visible:  # half of one is never seen
            checkpoint.Checkpoint(run / "checkpoints" / name, 0).check()
        saved(run, 3, keep=1)
        assert names(run) == ["update-0000003"] and whole(run, 3)
        step += 1
    assert ended == 0 and step > 12  # the last one was not killed


def test_the_disk_has_every_file_before_it_gets_its_name(tmp_path, monkeypatch):
    calls = []
    fsync, rename = os.fsync, os.rename
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append(os.fstat(fd).st_ino), fsync(fd))[1])
    monkeypatch.setattr(os, "rename", lambda a, b: (calls.append("rename"), rename(a, b))[1])
    made = saved(tmp_path, 1, ema=True)
    files = {p.stat().st_ino for p in made.path.iterdir()}
    assert len(files) == 3 and set(calls[:3]) == files  # each once
    folders = [p.stat().st_ino for p in (made.path, made.path.parent)]
    assert calls[3:] == [folders[0], "rename", folders[1]]


def failing(number):
    def call(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    return call


@pytest.mark.parametrize(
    ("where", "number"),
    [
        ("os.mkdir", errno.EROFS),
        ("safetensors.torch.save_file", errno.ENOSPC),
        ("os.fsync", errno.EIO),
        ("os.rename", errno.ENOSPC),
    ],
)
def test_a_full_disk_loses_nothing(where, number, tmp_path, monkeypatch):
    saved(tmp_path, 1)
    with monkeypatch.context() as patch:
        patch.setattr(where, failing(number))
        with pytest.raises(
            StoreError, match=r"update-0000002: cannot be written .*is kept"
        ) as error:
            saved(tmp_path, 2)
    assert os.strerror(number) in str(error.value) and "\n" not in str(error.value)
    assert names(tmp_path) == ["update-0000001"] and whole(tmp_path, 1)
    saved(tmp_path, 2)
    assert whole(tmp_path, 2)


def test_old_ones_that_cannot_be_removed_do_not_stop_it(tmp_path, monkeypatch):
    saved(tmp_path, 1, keep=1)
    rename = os.rename

    def only_new(source, target):
        if "update" in os.path.basename(source):
            raise PermissionError(errno.EACCES, "no")
        rename(source, target)

    monkeypatch.setattr(os, "rename", only_new)
    saved(tmp_path, 2, keep=1)
    again = saved(tmp_path, 2, ema=True, keep=1)
    assert again.path.name == "update-0000002.1" and find_latest(tmp_path, silent) == again
    monkeypatch.undo()
    saved(tmp_path, 2, keep=1)
    assert names(tmp_path) == ["update-0000002"]


def small_save(run):
    """Save what needs more than is left. The child's exit status says what came of it."""
    try:
        saved(run, 2, size=100_000)
    except StoreError as error:
        os._exit(42 if "cannot be written" in str(error) else 1)


def test_a_limit_on_files_loses_nothing(tmp_path):
    saved(tmp_path, 1)

    def limited():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        small_save(tmp_path)

    assert in_a_child(limited) == 42
    assert names(tmp_path) == ["update-0000001"] and whole(tmp_path, 1)


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 256 kB; needs the right to mount."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a small disk cannot be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_is_full_loses_nothing(small_disk):
    saved(small_disk, 1)
    with pytest.raises(StoreError, match="No space left on device"):
        saved(small_disk, 2, size=100_000)
    assert names(small_disk) == ["update-0000001"] and whole(small_disk, 1)
    save_weights(small_disk / "best.safetensors", card(), {"w": torch.ones(4)})
    with pytest.raises(StoreError, match=r"best\.safetensors: cannot be written .*No space left"):
        save_weights(small_disk / "best.safetensors", card(), {"w": torch.ones(100_000)})
    assert read_tensors(small_disk / "best.safetensors")[0]["w"].tolist() == [1.0] * 4
    assert sorted(os.listdir(small_disk)) == ["best.safetensors", "checkpoints"]


def test_a_run_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "run").write_text("a file")
    with pytest.raises(StoreError, match=r"cannot be written .*Not a directory"):
        saved(tmp_path / "run", 1)


def test_a_state_that_cannot_be_stored_touches_nothing(tmp_path):
    with pytest.raises(TypeError, match=r"state\.x"):
        save_checkpoint(tmp_path, 1, card(), {}, None, {"x": {1}}, 1)
    assert os.listdir(tmp_path) == []


def test_best_weights_are_replaced_at_once(tmp_path):
    file = tmp_path / "best.safetensors"
    for value in (1.0, 2.0):
        save_weights(file, card(update=int(value)), {"w": torch.full((3,), value)})
        found, metadata = read_tensors(file)
        assert found["w"].tolist() == [value] * 3 and parse_card(metadata, file).update == value
    assert os.listdir(tmp_path) == ["best.safetensors"] and file.stat().st_mode & 0o777 == 0o644


def test_a_kill_leaves_the_best_weights_whole(tmp_path):
    file = tmp_path / "best.safetensors"
    save_weights(file, card(), {"w": torch.zeros(3)})
    step, ended = 0, signal.SIGKILL
    while ended == signal.SIGKILL:

        def killed(step=step):
            die_at(step)
            save_weights(file, card(), {"w": torch.ones(3)})

        ended = in_a_child(killed)
        assert read_tensors(file)[0]["w"].tolist() in ([0.0] * 3, [1.0] * 3)
        step += 1
    assert ended == 0 and step > 3
    assert os.listdir(tmp_path) == ["best.safetensors"]
