"""From words to a training: networks fitted to data, folders, going on, the best of a front."""

from dataclasses import replace

import pytest
import torch

from smt_nas.arch import PRESETS, preset
from smt_nas.errors import ConfigError, SmtNasError, StoreError, TrainingError
from smt_nas.runtime.progress import NullProgress
from smt_nas.train.process_group import World
from smt_nas.train.recipe import load_recipe
from smt_nas.train.run import Asked, fitted, go_on, planned, start
from smt_nas.train.settings import How
from smt_nas.train.top import train_top
from smt_nas.train.training_directory import FILE, held, read_settings
from tests.fakes.images import few_digits

ALONE = World(0, 1, torch.device("cpu"))
ASKED = Asked("smt_micro", "digits", epochs=1, changes=("batch_size=40",))


@pytest.fixture(autouse=True, scope="module")
def few_images():
    with few_digits(10) as few:
        yield few


def test_a_preset_gets_a_head_for_the_data_and_a_config_states_its_own(few_images):
    recipe = load_recipe("small")
    arch = fitted("smt_t", PRESETS["smt_t"], recipe, few_images, False)
    assert (arch.num_classes, arch.image_size) == (10, 224)
    with pytest.raises(TrainingError, match=r"net.yaml: num_classes must be .* \(got 1000, digits"):
        fitted("net.yaml", PRESETS["smt_t"], recipe, few_images, False)
    assert fitted("net.yaml", PRESETS["smt_t"], recipe, few_images, True).num_classes == 10


def test_the_recipe_decides_over_size_drop_path_and_layer_scale(few_images):
    recipe = load_recipe("finetune-384", ["drop_path=0.25"])
    arch = fitted("smt_l", PRESETS["smt_l"], recipe, few_images, False)
    assert (arch.image_size, arch.drop_path, arch.layer_scale) == (384, 0.25, 1e-4)
    plain = fitted("smt_l", PRESETS["smt_l"], load_recipe("imagenet1k"), few_images, False)
    assert (plain.image_size, plain.drop_path, plain.layer_scale) == (224, 0.4, None)


@pytest.mark.parametrize(("name", "recipe"), [("smt_micro", "small"), ("smt_s", "imagenet1k")])
def test_the_recipe_by_default_suits_the_size(few_images, name, recipe):
    settings = Asked(name, "digits").settings(preset(name), few_images, 1)
    assert settings.recipe_name == recipe


def test_fewer_epochs_than_the_warm_up_shorten_it(few_images):
    settings = Asked("smt_s", "digits", epochs=3).settings(PRESETS["smt_s"], few_images, 8)
    assert (settings.recipe.epochs, settings.recipe.warmup_epochs) == (3, 0.3)
    with pytest.raises(ConfigError, match="--epochs 0: epochs must be"):
        Asked("smt_s", "digits", epochs=0).settings(PRESETS["smt_s"], few_images, 8)


def test_a_folder_is_for_one_training(tmp_path):
    run = tmp_path / "run"
    start(ASKED, How(), run, False, ALONE, NullProgress())
    assert read_settings(run).arch == preset("smt_micro")
    with pytest.raises(StoreError, match="holds this very training already"):
        start(ASKED, How(), run, False, ALONE, NullProgress())
    with pytest.raises(StoreError, match=r"a training with recipe.epochs 1 \(got 2\)"):
        start(replace(ASKED, epochs=2), How(), run, True, ALONE, NullProgress())
    with held(run), pytest.raises(StoreError, match="another process is working in it"):
        go_on(run, How(), ALONE, NullProgress())
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").write_text("years of work")
    with pytest.raises(StoreError, match=r"must be empty or new \(got thesis.tex\)"):
        start(ASKED, How(), other, False, ALONE, NullProgress())


@pytest.mark.parametrize(
    "change", [{"init": "nowhere.pth"}, {"teacher": "nowhere"}, {"changes": ("batch_size=9999",)}]
)
def test_what_is_found_wrong_before_leaves_no_folder(tmp_path, change):
    run = tmp_path / "run"
    with pytest.raises(SmtNasError):
        start(replace(ASKED, **change), How(), run, False, ALONE, NullProgress())
    assert not run.exists()


def test_a_training_that_diverges_is_no_success(tmp_path):
    wild = replace(ASKED, changes=("batch_size=40", "optimizer.lr=1e9", "warmup_epochs=0"))
    with pytest.raises(TrainingError, match="most gradients must be finite"):
        start(replace(wild, epochs=9), How(), tmp_path / "run", False, ALONE, NullProgress())


@pytest.mark.parametrize("change", [{"head_map": "rows.txt"}, {"init_shared": True}])
def test_words_about_first_weights_need_them(few_images, change):
    with pytest.raises(ConfigError, match="Add --init"):
        replace(ASKED, **change).settings(preset("smt_micro"), few_images, 1)


def test_where_no_checkpoint_is_whole_nothing_is_begun_anew(tmp_path):
    run = tmp_path / "run"
    start(ASKED, How(), run, False, ALONE, NullProgress())
    for state in run.glob("checkpoints/*/state.safetensors"):
        state.write_bytes(state.read_bytes()[:100])
    with pytest.raises(StoreError, match=r"one checkpoint must be whole \(got none\)"):
        go_on(run, How(), ALONE, NullProgress())
    assert (run / "best.safetensors").is_file()


def test_a_damaged_train_yaml_is_told(tmp_path):
    run = tmp_path / "run"
    start(ASKED, How(), run, False, ALONE, NullProgress())
    (run / FILE).write_text("schema: 1\n")
    with pytest.raises(StoreError, match=f"{FILE}.*Restore that file"):
        go_on(run, How(), ALONE, NullProgress())


def test_the_images_of_an_update_may_be_divided_anew(tmp_path):
    run = tmp_path / "run"
    start(ASKED, How(), run, False, ALONE, NullProgress())
    accumulated = replace(ASKED, changes=("batch_size=20", "accumulation=2"))
    assert start(accumulated, How(), run, True, ALONE, NullProgress()).updates == 3


def test_accumulation_adds_up_to_the_same_gradients_but_for_batch_norm(tmp_path):
    """Both see the same images an update; running statistics are of other batches."""
    plain, parts = tmp_path / "plain", tmp_path / "parts"
    a = start(ASKED, How(), plain, False, ALONE, NullProgress())
    accumulated = replace(ASKED, changes=("batch_size=20", "accumulation=2"))
    b = start(accumulated, How(), parts, False, ALONE, NullProgress())
    assert a.updates == b.updates
    losses = [f.history[0]["train_loss"] for f in (a, b)]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)
    assert losses[0] != losses[1]


def test_recomputed_blocks_give_the_same_training(tmp_path):
    plain = start(ASKED, How(), tmp_path / "a", False, ALONE, NullProgress())
    how = How(grad_checkpointing=True)
    recomputed = start(ASKED, how, tmp_path / "b", False, ALONE, NullProgress())
    names = ("train_loss", "val_loss")
    a, b = ([f.history[0][n] for n in names] for f in (plain, recomputed))
    assert a == pytest.approx(b, rel=1e-4)


@pytest.mark.parametrize("precision", ["amp-bf16", "amp-fp16"])
def test_mixed_precision_trains_like_fp32(tmp_path, precision):
    plain = start(replace(ASKED, epochs=2), How(), tmp_path / "a", False, ALONE, NullProgress())
    changes = (*ASKED.changes, f"precision={precision}")
    amp = replace(ASKED, epochs=2, changes=changes)
    mixed = start(amp, How(), tmp_path / "b", False, ALONE, NullProgress())
    assert mixed.skipped <= 2  # a scaler may begin too high
    assert mixed.history[1]["train_loss"] < mixed.history[0]["train_loss"]
    a, b = (f.history[0]["train_loss"] for f in (plain, mixed))
    assert a == pytest.approx(b, rel=0.1)


def test_a_dry_run_counts_what_a_training_does(tmp_path):
    plan = planned(replace(ASKED, epochs=3), How(), ALONE)
    finished = start(
        replace(ASKED, epochs=3), How(), tmp_path / "run", False, ALONE, NullProgress()
    )
    assert plan.updates == finished.updates == 3 * plan.updates_an_epoch
    assert plan.validation_n == finished.validation_n
    rates = dict(plan.curve)
    assert plan.curve[0][1] == pytest.approx(load_recipe("small").optimizer.warmup_lr)
    peak = load_recipe("small").optimizer.lr
    assert max(rates.values()) == pytest.approx(peak)
    assert plan.memory_mb["weights"] == pytest.approx(4e-6 * plan.parameters)


def test_the_best_of_a_front_and_smt_t_are_trained_once(tmp_path):
    front = tmp_path / "search" / "front"
    front.mkdir(parents=True)
    micro = preset("smt_micro")
    wider = micro.stages[3].model_copy(update={"mlp_ratio": 3.0})
    micro.save(front / "0.yaml")
    micro.model_copy(update={"stages": (*micro.stages[:3], wider)}).save(front / "1.yaml")
    micro.save(front / "10.yaml")
    asked = replace(ASKED, name=str(tmp_path / "search"))
    compared = train_top(asked, 2, 1, How(), None, ALONE, NullProgress())
    assert [(e.name, e.baseline) for e in compared.entrants] == [
        ("0", False),
        ("1", False),
        ("smt_t", True),
    ]
    assert all(e.top1[0] is not None for e in compared.entrants)
    assert read_settings(compared.entrants[2].runs[0]).arch.image_size == 32
    stamps = {p: p.stat().st_mtime_ns for e in compared.entrants for p in e.runs[0].glob("*.csv")}
    again = train_top(asked, 2, 1, How(), None, ALONE, NullProgress())
    assert [e.top1 for e in again.entrants] == [e.top1 for e in compared.entrants]
    assert {p.parent for p in stamps} == {e.runs[0] for e in again.entrants}
    with pytest.raises(TrainingError, match=r"its front must have 4 networks \(got 3\)"):
        train_top(asked, 4, 1, How(), None, ALONE, NullProgress())
