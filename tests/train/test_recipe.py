"""Recipes: the published values, changes, and what is refused."""

import pytest

from smt_nas.errors import ConfigError
from smt_nas.train.recipe import Recipe, apply_changes, load_recipe, recipe_names


def test_the_published_recipe_is_as_published():
    """Facts: the training code of SMT (AFeng-x/SMT, 11e954d)."""
    recipe = load_recipe("imagenet1k")
    assert (recipe.epochs, recipe.warmup_epochs, recipe.batch_size) == (300, 5, 128)
    rates = recipe.optimizer.scale_rates(8 * 128)
    assert (rates.lr, rates.warmup_lr, rates.min_lr) == pytest.approx((2e-3, 2e-7, 2e-6))
    assert (recipe.optimizer.weight_decay, recipe.optimizer.clip_norm) == (0.05, 5.0)
    augment = recipe.augment
    assert (augment.mixup, augment.cutmix, augment.erasing) == (0.2, 1.0, 0.25)
    assert (augment.label_smoothing, augment.auto_augment) == (0.1, "rand-m9-mstd0.5-inc1")
    assert (recipe.drop_path, recipe.ema, recipe.precision) == (None, None, "amp-fp16")


def test_pretraining_and_fine_tuning_reach_the_published_rates():
    pretraining = load_recipe("imagenet22k")
    images = 8 * pretraining.batch_size * pretraining.accumulation
    assert images == 4096
    assert pretraining.optimizer.scale_rates(images).lr == pytest.approx(1e-3)
    assert pretraining.layer_scale == 1e-4
    for size, lr in ((224, 1e-5), (384, 2e-5)):
        tuning = load_recipe(f"finetune-{size}")
        assert tuning.image_size == size
        assert tuning.optimizer.scale_rates(8 * tuning.batch_size).lr == pytest.approx(lr)
    assert load_recipe("finetune-384").evaluation.resize == "direct"


def test_a_recipe_reads_what_it_writes(tmp_path):
    for name in recipe_names():
        recipe = load_recipe(name)
        assert recipe.description
        path = tmp_path / f"{name}.yaml"
        path.write_text(recipe.to_yaml(), encoding="utf-8")
        assert load_recipe(path) == recipe


def test_changes_reach_every_depth_and_the_last_counts():
    recipe = load_recipe("small", ["optimizer.lr=1e-2", "epochs=3", "optimizer.lr=3e-3"])
    assert (recipe.optimizer.lr, recipe.epochs) == (3e-3, 3)
    assert apply_changes(recipe, ["ema.decay=0.9"]).ema.decay == 0.9
    assert apply_changes(recipe, ["augment.crop_scale=[0.5, 1]"]).augment.crop_scale == (0.5, 1.0)
    assert apply_changes(recipe, ["augment.crop_scale=null"]).augment.crop_scale is None


def test_a_clear_name_needs_no_part_before_it():
    recipe = load_recipe("small", ["lr=1e-4", "mixup=0.8", "wd=0", "bs=16", "opt=lamb"])
    assert (recipe.optimizer.lr, recipe.augment.mixup, recipe.batch_size) == (1e-4, 0.8, 16)
    assert (recipe.optimizer.weight_decay, recipe.optimizer.name) == (0, "lamb")
    again = apply_changes(recipe, ["learning_rate=3e-4", "optimizer.wd=0.1"])
    assert (again.optimizer.lr, again.optimizer.weight_decay) == (3e-4, 0.1)
    with pytest.raises(ConfigError, match=r"'augment.interpolation' or 'evaluation.interpolation'"):
        apply_changes(recipe, ["interpolation=bicubic"])
    with pytest.raises(ConfigError, match=r"decay is not a known field\. Did you mean 'ema.decay'"):
        apply_changes(recipe, ["decay=0.9"])


def test_the_rate_grows_with_the_images_only_where_it_is_per_images():
    recipe = Recipe(epochs=1)
    assert recipe.optimizer.scale_rates(1024).lr == 2 * recipe.optimizer.lr
    fixed = apply_changes(recipe, ["optimizer.lr_per=null"]).optimizer
    assert fixed.scale_rates(1024).lr == fixed.lr
    assert fixed.scale_rates(1024).scale_rates(1024) == fixed


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("optimizer.lr=nan", "must be a finite number"),
        ("optimizer.lr=-1", "greater than 0"),
        ("epochs=0", "epochs must be greater than or equal to 1"),
        ("epochs=2.5", "epochs"),
        ("optimizer.rate=1", "optimizer.rate is not a known field"),
        ("augment.mixupp=1", "Did you mean 'mixup'?"),
        ("warmup_epochs=500", "warmup_epochs must be less than epochs"),
        ("precision=fp8", "precision must be"),
        ("epochs", "must be field=value"),
        ("epochs.n=1", "epochs has no fields"),
        ("optimizer.lr=[", "not valid YAML"),
        ("batch_size=127", "batch_size must be even"),
        ("augment.crop_scale=[0.5]", "augment.crop_scale"),
    ],
)
def test_what_is_not_allowed_is_told_in_one_line(change, told):
    with pytest.raises(ConfigError, match=told) as caught:
        load_recipe("imagenet1k", [change])
    assert "\n" not in str(caught.value)


def test_unknown_recipes_name_the_known():
    with pytest.raises(ConfigError, match="Did you mean 'imagenet1k'"):
        load_recipe("imagenet1")


def test_a_field_that_stands_twice_is_told(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(load_recipe("small").to_yaml() + "epochs: 3\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="key 'epochs' stands twice"):
        load_recipe(path)
