"""What a proof compares: data sets, budgets and one recipe; and its folder, for these alone.

FOLDER/
  settings.yaml             what decides the figures
  recipe.yaml, spaces/      the recipe, and the search space at each data set's input
  candidates/BLOCK/         a model config a candidate, or why there is none
  searches/                 run directories of the searches
  trainings/                those under way
  proof.csv, predictions/   a row a training; the classes it predicts of the test images
  latency/                  times of the candidates of a block
"""

from __future__ import annotations

import io
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from smt_nas.errors import StoreError
from smt_nas.files import check_same, find_yaml, make_folder, write_atomic
from smt_nas.nasbench.build import labels_digest
from smt_nas.space import SearchSpace, SpaceConfig
from smt_nas.train.data.sources import load_source
from smt_nas.yaml import read_yaml, to_yaml, validated

RECIPE = Path(__file__).parent / "data" / "proof.yaml"
TOLERANCE = 0.02  # of MACs: what counts as equal
_SETTINGS = "settings.yaml"
_ANOTHER = "Choose another folder."


@dataclass(frozen=True)
class DataSet:
    """A data set, and how networks take its images.

    Attributes:
        title: in tables.
        image_size: pixels of a side.
        num_classes: of its labels.
        stem_stride: 2 at 32 px and 4 at 64 px, so that all maps have the same sizes.
    """

    title: str
    image_size: int
    num_classes: int
    stem_stride: int

    @property
    def padding(self) -> int:
        """Pixels around a training image before it is cropped: an eighth of a side."""
        return self.image_size // 8


DATA_SETS = {
    "cifar10": DataSet("CIFAR-10", 32, 10, 2),
    "tiny-imagenet-100": DataSet("Tiny-ImageNet-100", 64, 100, 4),
}


@dataclass(frozen=True)
class Block:
    """One data set at one budget: what is compared with each other.

    Attributes:
        data: of DATA_SETS.
        mmacs: the budget, millions of MACs.
    """

    data: str
    mmacs: float

    @property
    def label(self) -> str:
        """In names of files: `cifar10-4MMACs`."""
        return f"{self.data}-{self.mmacs:g}MMACs"

    @property
    def low(self) -> float:
        """Fewest MACs of a candidate."""
        return self.mmacs * (1 - TOLERANCE) * 1e6

    @property
    def high(self) -> float:
        """Most MACs of a candidate."""
        return self.mmacs * (1 + TOLERANCE) * 1e6

    @property
    def budget(self) -> str:
        """As a search takes it."""
        return f"{self.low / 1e6:g}..{self.high / 1e6:g}MMACs"


@dataclass(frozen=True)
class SearchEffort:
    """How much the search by short trainings may cost.

    Attributes:
        networks: to try.
        epochs: of a network that goes all the way.
        images: to train each on.
    """

    networks: int = 16
    epochs: int = 3
    images: int = 5000


@dataclass(frozen=True)
class Setup:
    """A proof.

    Attributes:
        folder: of the proof.
        data: folder that holds those of the data sets, Parquet files in each.
        space: name or path of the search space, at 32 px.
        data_sets: names, the first ones first.
        budgets: millions of MACs, the first one first.
        epochs: of every training.
        images: to train on; None for all but those held out.
        test_images: the first so many of the test images; None for all.
        device: where trainings run, `cpu` or `cuda:N`.
        precision: of every training, but the short ones that a search makes: those are fp32.
        changes: of the recipe, beside those above.
        effort: of the search by short trainings.
        before: a checkout of the build before; None where its picks are those kept.
    """

    folder: Path
    data: Path
    space: str
    data_sets: tuple[str, ...]
    budgets: tuple[float, ...]
    epochs: int
    images: int | None
    test_images: int | None
    device: str
    precision: str
    changes: tuple[str, ...]
    effort: SearchEffort
    before: Path | None = None

    @property
    def recipe(self) -> Path:
        """The recipe of the folder."""
        return self.folder / "recipe.yaml"

    @property
    def table(self) -> Path:
        """Its rows."""
        return self.folder / "proof.csv"

    def spec(self, data: str) -> str:
        """A data set as a training is told of it."""
        return f"parquet:{self.data / data}"

    def space_file(self, data: str) -> Path:
        """The search space at a data set's input."""
        return self.folder / "spaces" / f"{data}.yaml"

    def candidate_folder(self, block: Block) -> Path:
        """Where the candidates of a block are."""
        return self.folder / "candidates" / block.label

    def predictions(self, data: str, key: str, seed: int) -> Path:
        """The classes that a training predicts of the test images."""
        return self.folder / "predictions" / f"{data}-{key}-{seed}.npy"

    def labels(self, data: str) -> Path:
        """The true ones."""
        return self.folder / "predictions" / f"{data}-labels.npy"

    def list_blocks(self) -> list[Block]:
        """Every data set at the first budget, then at the next."""
        pairs = itertools.product(self.budgets, self.data_sets)
        return [Block(data, budget) for budget, data in pairs]

    def recipe_changes(
        self, data: str, epochs: int, images: int | None, precision: str
    ) -> tuple[str, ...]:
        """Of the recipe, for a data set: warm-up over the share that the file has."""
        file = read_yaml(RECIPE)
        warm = file["warmup_epochs"] * epochs / file["epochs"]
        own = (f"warmup_epochs={warm:g}", f"augment.padding={DATA_SETS[data].padding}")
        some = () if images is None else (f"images={images}",)
        return (*own, *some, f"precision={precision}", *self.changes)

    def decisive(self) -> dict[str, Any]:
        """What decides the figures, as YAML has it."""
        prose = {"description", "source"}
        recipe = {k: v for k, v in read_yaml(RECIPE).items() if k not in prose}
        effort = self.effort
        return {
            "budgets_mmacs": list(self.budgets),
            "space": self._load_space().digest,
            "epochs": self.epochs,
            "images": self.images,
            "test_images": self.test_images,
            "precision": self.precision,
            "changes": list(self.changes),
            "short_train": [effort.networks, effort.epochs, effort.images],
            "recipe": recipe,
        }

    def _load_space(self) -> SearchSpace:
        return SearchSpace.load(self.space)

    def derive_space(self, data: str) -> SpaceConfig:
        """The search space at a data set's input."""
        there = DATA_SETS[data]
        path = find_yaml("search_spaces", self.space, "search space")
        config = validated(SpaceConfig, read_yaml(path), str(path))
        stem = config.stem.model_copy(update={"stride": there.stem_stride})
        return config.model_copy(
            update={
                "image_size": there.image_size,
                "num_classes": there.num_classes,
                "stem": stem,
            }
        )


def prepare_folder(setup: Setup) -> None:
    """Make the folder, or check that it holds this very proof; data that were read stay the same.

    Raises:
        SmtNasError: another recipe, budget or data, or a folder that cannot be written.
    """
    for name in ("", "spaces", "candidates", "searches", "trainings", "predictions", "latency"):
        make_folder(setup.folder / name, _ANOTHER)
    file, decisive = setup.folder / _SETTINGS, setup.decisive()
    there = read_yaml(file) if file.is_file() else {**decisive, "labels": {}}
    old_labels = there.pop("labels")
    check_same(setup.folder, "holds a proof", there, decisive, _ANOTHER)
    new_labels = {}
    for data in setup.data_sets:
        source = load_source(setup.spec(data))
        new_labels[data] = labels_digest(source)
        old = {data: old_labels.get(data, new_labels[data])}
        check_same(setup.folder, "holds a proof", old, {data: new_labels[data]}, _ANOTHER)
        _write_labels(setup, data, source.test)
        write_atomic(
            setup.space_file(data), to_yaml(setup.derive_space(data).model_dump(mode="json"))
        )
    write_atomic(setup.recipe, RECIPE.read_text(encoding="utf-8"))
    write_atomic(file, to_yaml({**decisive, "labels": old_labels | new_labels}))


def read_setup(folder: Path) -> Setup:
    """The proof of a folder, to be read.

    Raises:
        ConfigError: there is none.
    """
    there = read_yaml(folder / _SETTINGS)
    return Setup(
        folder=folder,
        data=Path(),
        space="",
        data_sets=tuple(name for name in DATA_SETS if name in there["labels"]),
        budgets=tuple(there["budgets_mmacs"]),
        epochs=there["epochs"],
        images=there["images"],
        test_images=there["test_images"],
        device="cpu",
        precision=there["precision"],
        changes=tuple(there["changes"]),
        effort=SearchEffort(*there["short_train"]),
    )


def _write_labels(setup: Setup, data: str, test: Any) -> None:
    if test is None:
        raise StoreError(f"{setup.spec(data)}: must have a test split (got none). Name other data.")
    write_array(setup.labels(data), test.labels[: setup.test_images])


def write_array(path: Path, values: np.typing.NDArray[Any]) -> None:
    """Write an array whole or not at all. Raises StoreError."""
    buffer = io.BytesIO()
    np.save(buffer, values)
    write_atomic(path, buffer.getvalue())
