"""What a supernet is trained by: `SupernetOptions` decide the weights, the rest does not."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from smt_nas.errors import ConfigError
from smt_nas.fingerprint import Value
from smt_nas.train.recipe import Distill, Recipe, load_recipe
from smt_nas.yaml import validated

RECIPE = "supernet"
_UNUSED = {
    "eval_every": "nothing is evaluated while a supernet is trained",
    "max_nonfinite": "a supernet leaves such steps out, and goes back after 50 in a row",
}
"""Fields of a recipe without an effect here, and why."""


def _to_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


_Finite = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Count = Annotated[int, Field(ge=1, le=10_000_000)]


class SupernetOptions(Value):
    """What decides the weights of a supernet; a folder goes on only with the same.

    Attributes:
        space: name or path of its YAML, as the user wrote it.
        data: the data set, as `load_source` takes it.
        recipe: name or path.
        changes: of the recipe, `field=value`.
        seed: the same seed gives the same supernet.
        steps: of the training.
        minutes: of its own work, over all its starts: the first start measures how many steps they
            hold and writes that down.
        epochs: instead of the recipe's, which count where none of the three is given. The warm-up
            keeps its share, as with the others.
        macs: least and most of the networks that it is trained for; None for all of the space.
        share_ffn: SAM and MSA of a block have one FFN; else each its own.
        force: take a space whose range of MACs is wider than a store serves well.
    """

    space: str
    data: str
    recipe: str = RECIPE
    changes: Annotated[tuple[str, ...], BeforeValidator(_to_tuple)] = ()
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    steps: _Count | None = None
    minutes: _Finite | None = None
    epochs: _Count | None = None
    macs: Annotated[tuple[_Finite, _Finite], BeforeValidator(_to_tuple)] | None = None
    share_ffn: bool = True
    force: bool = False

    @model_validator(mode="after")
    def _check_one_length(self) -> SupernetOptions:
        lengths = {name: getattr(self, name) for name in ("minutes", "epochs", "steps")}
        lengths = {name: length for name, length in lengths.items() if length is not None}
        if len(lengths) > 1:
            got = " and ".join(f"{length:g}" for length in lengths.values())
            raise ValueError(
                f"{' and '.join(lengths)} say the same twice (got {got}). Give one of them."
            )
        return self

    def load_recipe(self) -> Recipe:
        """The recipe, changed.

        Raises:
            UnknownName: no such recipe.
            ConfigError: a value breaks a rule, or is not for a supernet.
        """
        recipe = load_recipe(self.recipe, self.changes)
        for change in self.changes:
            field = change.partition("=")[0].strip()
            if field in _UNUSED:
                raise ConfigError(
                    f"supernet: {field} has no meaning (got --set {change}): {_UNUSED[field]}. "
                    "Leave it out."
                )
        if self.epochs is not None:
            warmup = recipe.warmup_epochs * self.epochs / recipe.epochs
            longer = {"epochs": self.epochs, "warmup_epochs": warmup}
            recipe = validated(Recipe, recipe.model_dump() | longer, f"--epochs {self.epochs}")
        if recipe.precision == "amp-fp16":
            raise ConfigError(
                "supernet: precision must be fp32, tf32 or amp-bf16 (got amp-fp16, whose losses "
                "are scaled one by one). Use --set precision=amp-bf16."
            )
        if recipe.optimizer.layer_decay is not None:
            raise ConfigError(
                "supernet: layer_decay has no meaning for networks of different depths (got "
                f"{recipe.optimizer.layer_decay:g}). Leave it out of the recipe."
            )
        if recipe.sync_bn or recipe.distill != Distill():
            unused = "sync_bn" if recipe.sync_bn else "distill"
            raise ConfigError(
                f"supernet: {unused} has no meaning (got it in recipe {self.recipe}): networks "
                "learn from the largest, and batch norms are calibrated for each. Leave it out."
            )
        for field in ("image_size", "layer_scale"):
            if getattr(recipe, field) is not None:
                raise ConfigError(
                    f"supernet: {field} is the space's (got {getattr(recipe, field)} in recipe "
                    f"{self.recipe}). Leave it out of the recipe."
                )
        return recipe

    def describe_unused(self, recipe: Recipe) -> list[str]:
        """What of a recipe has no effect on a supernet, a line each."""
        fields = Recipe.model_fields
        return [
            f"{field} of recipe {self.recipe} has no effect: {why}."
            for field, why in _UNUSED.items()
            if getattr(recipe, field) != fields[field].default
        ]


class SupernetRunOptions(Value):
    """What may change from one start of a supernet to the next.

    Attributes:
        device: `cpu`, `cuda`, `cuda:N`; None for this machine's GPU where there is one.
        workers: processes that read images where they are not held in memory.
        save_minutes: time between checkpoints.
        save_steps: steps between checkpoints; None for none by count.
        keep: checkpoints kept.
        until_step: stop there; None for the end.
        max_unreadable: images that may be unreadable.
    """

    device: str | None = None
    workers: Annotated[int, Field(ge=0, le=256)] = 0
    save_minutes: _Finite = 1.0
    save_steps: _Count | None = None
    keep: Annotated[int, Field(ge=1, le=1000)] = 3
    until_step: _Count | None = None
    max_unreadable: Annotated[int, Field(ge=0, le=1_000_000)] = 100
