"""`SupernetCard`: what a file of a supernet's weights says of itself, as JSON in its metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, field_validator

from smt_nas.arch import Architecture
from smt_nas.errors import ConfigError, StoreError
from smt_nas.evaluators.supernet.coverage import Coverage
from smt_nas.fingerprint import Value
from smt_nas.models.supernet import SupernetSpec
from smt_nas.train.recipe import EvalTransform
from smt_nas.train.weights.card import Card, Finite, HeldOutSplit, Scale, Text
from smt_nas.yaml import validated

METADATA = "smt_nas.supernet"
"""Entry of a file's metadata that holds the card."""


class SupernetCard(Value):
    """What a file of a supernet's weights says of itself.

    Attributes:
        spec: what the store holds.
        space_name: of the space; its digest is in `spec`.
        macs: least and most of the networks that were trained; None for all of the space.
        classes: names, in the order of the head's rows.
        mean: of the images' channels, in 0..1, taken away before a network.
        std: of the images' channels, divided by before a network.
        evaluation: how images are prepared where nothing is random.
        recipe: its name.
        data: the data set, as the user wrote it.
        images: of the training, where the recipe took fewer than there are; else None.
        data_digest: of its classes, labels and some images.
        seed: of the training.
        step: steps behind these weights.
        steps: of the whole training.
        epoch: whole passes over the training images behind them.
        weights: the store's own, or their moving average.
        skipped: steps left out.
        rollbacks: times that the training went back to a checkpoint.
        coverage: steps that trained, and how many of them trained each choice.
        split: how the search split was carved from the training images; None where the data set
            came with one.
        versions: of libraries.
    """

    schema_version: Literal[1] = 1
    spec: SupernetSpec
    space_name: Text
    macs: Annotated[tuple[Finite, Finite], BeforeValidator(tuple)] | None = None
    classes: tuple[Text, ...]
    mean: tuple[Finite, ...]
    std: tuple[Scale, ...]
    evaluation: EvalTransform
    recipe: Text
    data: Text
    images: int | None = None
    data_digest: str
    seed: int
    step: int
    steps: int
    epoch: int
    weights: Literal["model", "ema"]
    skipped: int = 0
    rollbacks: int = 0
    coverage: dict[str, Any]
    split: HeldOutSplit | None = None
    versions: dict[str, str]

    @field_validator("coverage")
    @classmethod
    def _is_coverage(cls, values: dict[str, Any]) -> dict[str, Any]:
        Coverage.from_dict(values)
        return values

    def for_weights(self, weights: Literal["model", "ema"]) -> SupernetCard:
        """The card of the other weights of the same moment."""
        return self.model_copy(update={"weights": weights})

    def to_metadata(self) -> dict[str, str]:
        """As the metadata of a safetensors file; one entry, as `Card`'s is."""
        return {METADATA: self.model_dump_json()}

    def for_network(
        self, arch: Architecture, digest: str, validation: dict[str, float] | None = None
    ) -> Card:
        """The card of a network that was taken out of the store.

        Args:
            arch: the network, as the store holds it.
            digest: of the supernet.
            validation: figures on the search split; None where it was not rated.
        """
        return Card(
            arch=arch,
            classes=self.classes,
            mean=self.mean,
            std=self.std,
            evaluation=self.evaluation,
            image_size=arch.image_size,
            recipe=self.recipe,
            data=self.data,
            seed=self.seed,
            epoch=self.epoch,
            update=self.step,
            weights=self.weights,
            validation=validation,
            split=self.split,
            versions=self.versions,
            inherited=digest,
        )


def parse_supernet_card(metadata: Mapping[str, str], where: Path) -> SupernetCard:
    """The card in the metadata of a file.

    Raises:
        StoreError: there is none, or it is damaged.
    """
    text = metadata.get(METADATA)
    if text is None:
        raise StoreError(f"{where}: must be of a supernet (got a file without its card).")
    try:
        return validated(SupernetCard, json.loads(text), f"{where}, card")
    except (ConfigError, ValueError) as error:
        raise StoreError(f"{' '.join(str(error).split())} Restore {where} from a copy.") from error
