"""`Card`: what a file of weights says of itself, as JSON in its metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from smt_nas.arch import Architecture
from smt_nas.errors import ConfigError, StoreError
from smt_nas.files import to_text
from smt_nas.train.recipe import EvalTransform
from smt_nas.yaml import validated

KEY = "smt_nas.card"
_SCHEMA = 1

Finite = Annotated[float, Field(allow_inf_nan=False)]
Text = Annotated[str, BeforeValidator(to_text)]
Scale = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _CardValue(BaseModel):
    # a loss may be infinite; JSON has no word for it
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class HeldOutSplit(_CardValue):
    """How the validation split was carved from the training images.

    Attributes:
        fraction: share of them.
        seed: of the draw.
    """

    fraction: float
    seed: int


class Card(_CardValue):
    """What a file of weights says of itself.

    Attributes:
        schema_version: of this card.
        arch: the network as it was trained: with the data's classes and that image size.
        classes: names, in the order of the head's rows.
        mean: of the images' channels, in 0..1, taken away before the network.
        std: of the images' channels, divided by before the network.
        evaluation: how images are prepared where nothing is random.
        image_size: pixels of a side.
        recipe: its name.
        data: the data set, as the user wrote it.
        seed: of the training.
        epoch: whole epochs behind these weights.
        update: updates behind these weights.
        weights: the network's own, or their moving average.
        validation: figures of these weights on the validation split, e.g. `top1`; None where
            they were not evaluated.
        split: how the validation split was made; None where the data set came with one.
        versions: of libraries.
        inherited: digest of the supernet that the weights were taken out of, where they were
            trained together with all other networks of a space; None of a network trained alone.
    """

    schema_version: Literal[1] = 1
    arch: Architecture
    classes: tuple[Text, ...]
    mean: tuple[Finite, ...]
    std: tuple[Scale, ...]
    evaluation: EvalTransform
    image_size: int
    recipe: str
    data: Text
    seed: int
    epoch: int
    update: int
    weights: Literal["model", "ema"]
    validation: dict[str, float] | None = None
    split: HeldOutSplit | None = None
    versions: dict[str, str] = {}
    inherited: str | None = None

    @model_validator(mode="after")
    def _check_agreement(self) -> Card:
        if len(self.classes) != self.arch.num_classes:
            raise ValueError(
                f"classes must be those of the head (got {len(self.classes)} names for "
                f"{self.arch.num_classes})."
            )
        if len(self.mean) != len(self.std):
            raise ValueError(
                f"mean and std must be of the same channels (got {self.mean}, {self.std})."
            )
        return self

    def for_weights(self, weights: Literal["model", "ema"]) -> Card:
        """The card of the other weights of the same moment: figures belong to one of them only."""
        if weights == self.weights:
            return self
        return self.model_copy(update={"weights": weights, "validation": None})

    def to_metadata(self) -> dict[str, str]:
        """As the metadata of a safetensors file.

        One entry alone: safetensors writes several in any order, and equal trainings are to give
        equal files.
        """
        unsaid = {"inherited"} if self.inherited is None else None  # as files of before
        return {KEY: self.model_dump_json(exclude=unsaid)}


def parse_card(metadata: Mapping[str, str], where: Path) -> Card | None:
    """The card in the metadata of a file; None where there is none.

    Raises:
        StoreError: it is damaged, or of another version.
    """
    text = metadata.get(KEY)
    if text is None:
        return None
    try:
        data = json.loads(text)
        version = data.get("schema_version") if isinstance(data, dict) else None
        if version != _SCHEMA:
            raise StoreError(
                f"{where}: its card must be of version {_SCHEMA} (got {version}). Use the smt-nas "
                "that wrote it."
            )
        return validated(Card, data, f"{where}, card")
    except (ConfigError, ValueError) as error:
        raise StoreError(f"{' '.join(str(error).split())} Restore {where} from a copy.") from error
