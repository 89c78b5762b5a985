"""From requests to trainings: folders, going on, and options that change no more than they say."""

import os
from dataclasses import replace

import pytest

from smt_nas.errors import SmtNasError, StoreError, TrainingError
from smt_nas.train.dry_run import dry_run
from smt_nas.train.recipe import load_recipe
from smt_nas.train.train_config import RunOptions
from smt_nas.train.training_directory import FILE, lock_directory, read_config
from tests.fakes.images import few_digits
from tests.fakes.trainings import ALONE, SHORT, KillAt, Killed, resume, start
from tests.fakes.weights import TINY

HALVES = replace(SHORT, changes=("batch_size=20", "accumulation=2", "warmup_epochs=0.3"))


@pytest.fixture(autouse=True, scope="module")
def few_images():
    with few_digits(10):
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A training of `SHORT`; tests leave its folder as it is."""
    return start(SHORT, tmp_path_factory.mktemp("trained") / "run")


@pytest.fixture
def copy(trained, tmp_path):
    """A training of one's own to spoil, of the fewest files."""
    run = tmp_path / "run"
    start(SHORT, run)
    return run


def test_a_training_leaves_the_allocator_of_its_process_alone(tmp_path, monkeypatch):
    class Library:
        def __init__(self, name):
            assert name is not None, "the C library is asked to work otherwise"

    monkeypatch.setattr("ctypes.CDLL", Library)
    monkeypatch.delenv("THP_MEM_ALLOC_ENABLE", raising=False)
    start(SHORT, tmp_path / "run")
    assert "THP_MEM_ALLOC_ENABLE" not in os.environ


def test_a_folder_is_for_one_training(trained, tmp_path):
    run = trained.run
    assert read_config(run).arch == TINY.model_copy(update={"num_classes": 10})
    with pytest.raises(StoreError, match="holds this very training already"):
        start(SHORT, run)
    with pytest.raises(StoreError, match=r"a training with recipe.epochs 1 \(got 2\)"):
        start(replace(SHORT, epochs=2), run, True)
    with lock_directory(run), pytest.raises(StoreError, match="another process is working in it"):
        resume(run)
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").write_text("years of work")
    with pytest.raises(StoreError, match=r"must be empty or new \(got thesis.tex\)"):
        start(SHORT, other)


def test_a_training_of_before_recipes_were_fitted_goes_on_by_its_own(tmp_path):
    unnamed = replace(SHORT, epochs=None)  # 36 updates by `small` as it stands
    run = tmp_path / "run"
    with pytest.raises(Killed):
        start(replace(unnamed, recipe="small"), run, listener=KillAt(4))
    with pytest.raises(Killed):
        start(unnamed, run, resume=True, listener=(heard := KillAt(6)))
    assert heard.first > 1  # it went on
    assert read_config(run).recipe.epochs == load_recipe("small").epochs == 12
    with pytest.raises(StoreError, match=r"a training with recipe.epochs 12 \(got 3\)"):
        start(replace(unnamed, epochs=3), run, resume=True)


@pytest.mark.parametrize(
    "change", [{"init": "nowhere.pth"}, {"teacher": "nowhere"}, {"changes": ("batch_size=9999",)}]
)
def test_what_is_found_wrong_before_leaves_no_folder(tmp_path, change):
    run = tmp_path / "run"
    with pytest.raises(SmtNasError):
        start(replace(SHORT, **change), run)
    assert not run.exists()


def test_a_training_that_diverges_is_no_success(tmp_path):
    wild = replace(SHORT, changes=("batch_size=40", "optimizer.lr=1e9", "warmup_epochs=0"))
    with pytest.raises(TrainingError, match="most gradients must be finite"):
        start(replace(wild, epochs=9), tmp_path / "run")


def test_where_no_checkpoint_is_whole_nothing_is_begun_anew(copy):
    for state in copy.glob("checkpoints/*/state.safetensors"):
        state.write_bytes(state.read_bytes()[:100])
    with pytest.raises(StoreError, match=r"one checkpoint must be whole \(got none\)"):
        resume(copy)
    assert (copy / "best.safetensors").is_file()


def test_a_damaged_train_yaml_is_told(copy):
    (copy / FILE).write_text("schema: 1\n")
    with pytest.raises(StoreError, match=f"{FILE}.*Restore that file"):
        resume(copy)


def test_the_images_of_an_update_may_be_divided_anew(trained):
    assert start(HALVES, trained.run, True).updates == 3


def test_accumulation_adds_up_to_the_same_gradients_but_for_batch_norm(trained, tmp_path):
    """Both see the same images an update; running statistics are of other batches."""
    accumulated = start(HALVES, tmp_path / "run")
    assert accumulated.updates == trained.updates
    losses = [result.history[0].train_loss for result in (accumulated, trained)]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)
    assert losses[0] != losses[1]


def test_recomputed_blocks_give_the_same_training(trained, tmp_path):
    recomputed = start(SHORT, tmp_path / "run", grad_checkpointing=True)
    ours, theirs = recomputed.history[0], trained.history[0]
    assert ours.train_loss == pytest.approx(theirs.train_loss, rel=1e-4)
    assert ours.val_loss == pytest.approx(theirs.val_loss, rel=1e-4)


@pytest.mark.parametrize("precision", ["amp-bf16", "amp-fp16"])
def test_mixed_precision_trains_like_fp32(trained, tmp_path, precision):
    mixed = start(
        replace(SHORT, changes=(*SHORT.changes, f"precision={precision}")), tmp_path / "run"
    )
    assert mixed.skipped <= 2  # a scaler may begin too high
    loss, exact = mixed.history[0].train_loss, trained.history[0].train_loss
    assert loss == pytest.approx(exact, rel=0.1) and loss != exact


def test_a_dry_run_counts_what_a_training_does(tmp_path):
    request = replace(SHORT, name="smt_micro", epochs=2)
    plan = dry_run(request, RunOptions(), ALONE)
    result = start(request, tmp_path / "run")
    assert plan.updates == result.updates == 2 * plan.updates_an_epoch
    assert plan.validation_n == result.validation_n
    optimizer = load_recipe("small").optimizer
    assert plan.curve[0][1] == pytest.approx(optimizer.warmup_lr)
    assert max(rate for _, rate in plan.curve) == pytest.approx(optimizer.lr)
    assert plan.memory_mb["weights"] == pytest.approx(4e-6 * plan.parameters)
