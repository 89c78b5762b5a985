"""How a network is trained: a `Recipe`, read from YAML, changed by `optimizer.lr=1e-3`.

Shipped recipes are the YAML files in `data/recipes/`; a path to your own works too.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from smt_nas.errors import ConfigError
from smt_nas.files import find_yaml, names
from smt_nas.fingerprint import ADDED, Value
from smt_nas.yaml import list_fields, parse_value, read_yaml, to_yaml, validated

FOLDER = "recipes"
_COOLDOWN = 0.2  # as in the papers that `constant_rate` cites

_ALIASES = {
    "learning_rate": "optimizer.lr",
    "wd": "optimizer.weight_decay",
    "opt": "optimizer.name",
    "smoothing": "augment.label_smoothing",
    "bs": "batch_size",
    "batch": "batch_size",
}
"""Words that other trainers have for fields, which `--set` takes too."""
_PLAIN = ("optimizer.", "augment.")  # whose fields need no part before them, where that is clear

Precision = Literal["fp32", "tf32", "amp-fp16", "amp-bf16"]


def _to_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Count = Annotated[int, Field(strict=True, ge=1, le=1_000_000)]
Range = Annotated[tuple[Share, Share], BeforeValidator(_to_tuple)]


class Optimizer(Value):
    """The optimizer, by timm's name of it, and the learning rate's rule.

    Attributes:
        name: of `timm.optim.list_optimizers()`.
        lr: peak learning rate at `lr_per` images an update; grows in proportion to the images.
        lr_per: None takes `lr` as it is.
        warmup_lr: rate at update 0; follows the same rule.
        min_lr: rate at the end; follows the same rule.
        weight_decay: of every tensor but biases and 1-D ones.
        betas: of the Adam family; None leaves the optimizer's own.
        eps: likewise.
        layer_decay: factor of the rate from one block to the one before it; None for none.
        clip_norm: largest norm of all gradients together; None for no clipping.
    """

    name: str = "adamw"
    lr: Positive = 1e-3
    lr_per: Count | None = 512
    warmup_lr: NotNegative = 1e-7
    min_lr: NotNegative = 1e-6
    weight_decay: NotNegative = 0.05
    betas: Annotated[tuple[Share, Share], BeforeValidator(_to_tuple)] | None = (0.9, 0.999)
    eps: Positive | None = 1e-8
    layer_decay: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    clip_norm: Positive | None = 5.0

    def scale_rates(self, images: int) -> Optimizer:
        """With the rates of an update over so many images."""
        if self.lr_per is None:
            return self
        factor = images / self.lr_per
        rates = ("lr", "warmup_lr", "min_lr")
        return self.model_copy(
            update={name: getattr(self, name) * factor for name in rates} | {"lr_per": None}
        )


class Augment(Value):
    """What is done to training images; each by timm, under timm's names.

    Attributes:
        crop_scale: share of the image's area that a random crop keeps; None pads by `padding`
            pixels and crops the size back.
        padding: pixels on each side, where `crop_scale` is None.
        flip: chance of a horizontal flip, on data where a mirrored image keeps its class.
        auto_augment: timm's policy string, e.g. `rand-m9-mstd0.5-inc1`; None for none.
        color_jitter: strength; timm leaves it out where a policy is on.
        interpolation: of resizing.
        erasing: chance of random erasing, with noise.
        mixup: alpha; 0 for none.
        cutmix: alpha; 0 for none.
        mix_prob: chance that a batch is mixed at all.
        switch_prob: chance of CutMix rather than Mixup, where both are on.
        label_smoothing: of the targets.
    """

    crop_scale: Range | None = (0.08, 1.0)
    padding: Annotated[int, Field(strict=True, ge=0, le=1024)] = 0
    flip: Share = 0.5
    auto_augment: str | None = None
    color_jitter: NotNegative = 0.0
    interpolation: Literal["bilinear", "bicubic", "nearest", "random"] = "bicubic"
    erasing: Share = 0.0
    mixup: NotNegative = 0.0
    cutmix: NotNegative = 0.0
    mix_prob: Share = 1.0
    switch_prob: Share = 0.5
    label_smoothing: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] = 0.1

    @property
    def mixes(self) -> bool:
        """Whether batches are mixed."""
        return (self.mixup > 0 or self.cutmix > 0) and self.mix_prob > 0


class EvalTransform(Value):
    """How images are prepared where nothing is random.

    Attributes:
        resize: `center` resizes the short side to size / crop_pct and crops the middle; `direct`
            resizes to size x size.
        crop_pct: share of the side that the crop keeps.
        interpolation: of resizing.
    """

    resize: Literal["center", "direct"] = "center"
    crop_pct: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = 0.875
    interpolation: Literal["bilinear", "bicubic", "nearest"] = "bicubic"


class Ema(Value):
    """An exponential moving average of the weights (timm's ModelEmaV3).

    Attributes:
        decay: per update.
        warmup: let the decay grow from 0 with the updates, for short trainings.
    """

    decay: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)] = 0.9999
    warmup: bool = False


class Distill(Value):
    """Soft targets of a teacher (Hinton et al., 2015), where one is named.

    Attributes:
        temperature: both logits are divided by it; the loss is multiplied by its square.
        weight: share of the distillation loss; the rest is the labels'.
    """

    temperature: Positive = 2.0
    weight: Share = 0.5


class Recipe(Value):
    """Everything that decides how a network is trained, but the network and the data.

    Attributes:
        description: one line for `smt-nas recipes`.
        source: where its values are from.
        epochs: passes over the training split, the warm-up among them.
        warmup_epochs: of linear growth of the rate; then `schedule`, by update.
        schedule: `cosine` to the smallest rate, or `constant` until `cooldown`. Up to its cooldown
            a training at a constant rate is the same whatever its epochs.
        cooldown: share of the updates, the last, in which a constant rate falls in a straight line.
        batch_size: images of one process in one step.
        accumulation: steps an update.
        image_size: pixels; None for the network's own.
        drop_path: stochastic depth; None for the network's own.
        layer_scale: initial value; None for the network's own.
        precision: amp-fp16 scales the loss.
        sync_bn: take batch norm statistics over all processes, on GPUs.
        validation: share of the training images held out, where the data set names none.
        images: of the training split to train on, a sample alike for every class; None for all.
        split_seed: of what is held out and sampled; None for the training's own seed.
        eval_every: epochs between evaluations of the validation split.
        max_nonfinite: updates in a row that may be skipped for gradients which are not finite.
    """

    description: str = ""
    source: str = ""
    epochs: Count
    warmup_epochs: NotNegative = 0.0
    schedule: Annotated[Literal["cosine", "constant"], ADDED] = "cosine"
    cooldown: Annotated[Share, ADDED] = _COOLDOWN
    batch_size: Count = 128
    accumulation: Count = 1
    image_size: Annotated[int, Field(strict=True, ge=32, le=8192)] | None = None
    drop_path: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] | None = None
    layer_scale: Positive | None = None
    precision: Precision = "fp32"
    sync_bn: bool = False
    validation: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)] = 0.1
    images: Annotated[int, Field(strict=True, ge=1)] | None = None
    split_seed: Annotated[int, Field(strict=True, ge=0, lt=2**63)] | None = None
    optimizer: Optimizer = Optimizer()
    augment: Augment = Augment()
    evaluation: EvalTransform = EvalTransform()
    ema: Ema | None = None
    distill: Distill = Distill()
    eval_every: Count = 1
    max_nonfinite: Count = 50

    @model_validator(mode="after")
    def _check_consistent(self) -> Recipe:
        if self.warmup_epochs >= self.epochs:
            raise ValueError(
                f"warmup_epochs must be less than epochs (got {self.warmup_epochs:g} of "
                f"{self.epochs}). Lower it with --set warmup_epochs=0."
            )
        if self.schedule == "constant" and self.warmup_epochs > (1 - self.cooldown) * self.epochs:
            raise ValueError(
                f"warmup_epochs and cooldown must fit into epochs (got {self.warmup_epochs:g} and "
                f"a share of {self.cooldown:g} of {self.epochs}). Lower one of them."
            )
        if self.schedule == "cosine" and self.cooldown != _COOLDOWN:
            raise ValueError(
                f"cooldown is of a constant rate (got {self.cooldown:g} with schedule cosine). "
                "Leave it out, or use --set schedule=constant."
            )
        if self.augment.mixes and self.batch_size % 2:
            raise ValueError(
                f"batch_size must be even where batches are mixed (got {self.batch_size}). "
                "Change it, or set augment.mixup and augment.cutmix to 0."
            )
        return self

    def with_epochs(self, epochs: int) -> Recipe:
        """The same for another number of epochs. Raises ConfigError: they are too few."""
        return validated(Recipe, self.model_dump() | {"epochs": epochs}, f"{epochs} epochs")

    def find_fall(self, updates: int) -> int:
        """The update, from 0, where the rate begins to fall; `updates` are those of an epoch."""
        if self.schedule == "cosine":
            return round(self.warmup_epochs * updates)
        total = self.epochs * updates
        return total - max(bool(self.cooldown), round(self.cooldown * total))

    def to_yaml(self) -> str:
        """As a file that `load_recipe` reads."""
        return to_yaml(self.model_dump(mode="json"))


def recipe_names() -> list[str]:
    """Names of the shipped recipes."""
    return names(FOLDER)


def load_recipe(name_or_path: str | Path, changes: Sequence[str] = ()) -> Recipe:
    """Read a recipe, with values changed.

    Args:
        name_or_path: of `recipe_names()`, or a YAML.
        changes: `part.field=value`, the value as YAML; `field=value` where it is clear which is
            meant, see `resolve_field`. The last one counts.

    Raises:
        UnknownName: no recipe of that name.
        ConfigError: the file or a change breaks a rule; says which.
    """
    path = find_yaml(FOLDER, name_or_path, "recipe")
    data = read_yaml(path)
    recipe = validated(Recipe, data, str(name_or_path))
    return apply_changes(recipe, changes) if changes else recipe


def apply_changes(recipe: Recipe, changes: Sequence[str]) -> Recipe:
    """A recipe with values changed; see `load_recipe`."""
    values = recipe.model_dump(mode="json")
    for change in changes:
        _set_value(values, change)
    return validated(Recipe, values, f"--set {' '.join(changes)}")


def _set_value(values: dict[str, Any], change: str) -> None:
    """Put one change where it belongs; whether it may be there is for `Recipe` to say."""
    path, equals, text = change.partition("=")
    if not equals or not path.strip():
        raise ConfigError(
            f"--set {change}: must be field=value (got no `=`). E.g. --set optimizer.lr=1e-3."
        )
    *parts, leaf = resolve_field(path.strip()).split(".")
    for part in parts:
        inner = values.get(part)
        if inner is None:
            inner = values[part] = {}
        if not isinstance(inner, dict):
            raise ConfigError(
                f"--set {change}: {part} has no fields (got .{leaf}). Set {part} itself."
            )
        values = inner
    values[leaf] = _parse_value(change, text)


def _parse_value(change: str, text: str) -> Any:
    """The value as a file would have it."""
    try:
        return parse_value(text)
    except ValueError as error:
        raise ConfigError(f"--set {change}: the value is not valid YAML. Quote it.") from error


def resolve_field(name: str) -> str:
    """The full name of a field of a recipe: `optimizer.lr` for `lr`, `learning_rate`.

    A field of the optimizer or the augmentation needs no part before it where no other field is
    called so. A name that is not known is returned as it is.
    """
    fields = list(list_fields(Recipe))
    if name in fields:
        return name
    part, _, leaf = name.rpartition(".")
    alias = _ALIASES.get(leaf, "")
    if alias and part in ("", alias.rpartition(".")[0]):
        return alias
    same = [field for field in fields if not part and field.rpartition(".")[2] == name]
    return same[0] if len(same) == 1 and same[0].startswith(_PLAIN) else name
