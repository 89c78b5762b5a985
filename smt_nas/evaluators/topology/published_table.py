"""The table of published ImageNet networks: shapes, costs, top-1 and family.

`reference/imagenet_topology.csv`; its README says where from. A table of a user's own has the same
columns.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from smt_nas.errors import ConfigError, list_names
from smt_nas.evaluators.topology.shapes import Floats, Shapes
from smt_nas.files import shipped

if TYPE_CHECKING:
    import pandas

SHIPPED = shipped("reference") / "imagenet_topology.csv"
_STAGES = range(1, 5)
_SHAPES = tuple(f"{letter}{i}" for letter in "dwem" for i in _STAGES)
_COSTS = ("gmacs", "params_m", "mactivations")
_MOST = 1e5  # of costs; more is counted in single MACs or parameters
_FLAGS = ("hybrid", "metaformer", "comparable")
COLUMNS = ("model", "family", "top1", *_COSTS, *_FLAGS, *_SHAPES)


@dataclass(frozen=True)
class PublishedTable:
    """Published networks with four stages.

    Attributes:
        name: of each, with its weights, (n,) str.
        family: of one paper and recipe, (n,) str.
        line: of one design, whatever its recipe, version or authors (all Swins, all RegNets), so
            that two networks of a line tell each other's accuracy and shape; (n,) str. A table
            without the column has its families there.
        hybrid: blocks mix convolution with attention or modulation, as SMT's do, (n,) bool.
        metaformer: blocks are a token mixer and an MLP, (n,) bool.
        comparable: trained on ImageNet-1K alone, so that its top-1 counts, (n,) bool.
        costs: GMACs, M parameters, M activations, (n, 3).
        top1: in percent, (n,).
        shapes: of the stages.
    """

    name: NDArray[np.str_]
    family: NDArray[np.str_]
    line: NDArray[np.str_]
    hybrid: NDArray[np.bool_]
    metaformer: NDArray[np.bool_]
    comparable: NDArray[np.bool_]
    costs: Floats
    top1: Floats
    shapes: Shapes

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a CSV file.

        Raises:
            ConfigError: it cannot be read, lacks columns, or holds what is no figure, a network
                twice, or no comparable network with another of its family.
        """
        frame = _read_frame(path)
        family = frame["family"].to_numpy(dtype=str)
        stages = [frame[[f"{letter}{i}" for i in _STAGES]].to_numpy(float) for letter in "dwem"]
        flags = {name: frame[name].to_numpy() == 1 for name in _FLAGS}
        table = cls(
            name=frame["model"].to_numpy(dtype=str),
            family=family,
            line=frame["line" if "line" in frame else "family"].to_numpy(dtype=str),
            costs=frame[list(_COSTS)].to_numpy(float),
            top1=frame["top1"].to_numpy(float),
            shapes=Shapes(*stages),
            **flags,
        )
        rated = family[table.comparable]
        if not len(rated):
            raise ConfigError(
                f"{path}: needs comparable networks (got none). Write 1 in the column comparable "
                "of those that were trained on ImageNet-1K alone."
            )
        if len(rated) == len(np.unique(rated)):
            raise ConfigError(
                f"{path}: needs comparable networks of which two or more are of one family (got "
                f"{len(rated)}, each a family of its own). Name families in its column family."
            )
        return table

    def select(self, keep: NDArray[np.bool_] | NDArray[np.int64]) -> Self:
        """Some of the rows."""
        columns = ("name", "family", "line", *_FLAGS, "costs", "top1")
        kept = {field: getattr(self, field)[keep] for field in columns}
        return replace(self, shapes=self.shapes.select(keep), **kept)

    @property
    def inverted(self) -> NDArray[np.bool_]:
        """Blocks are at least as wide inside as outside, as SMT's are: no bottlenecks, (n,)."""
        return np.asarray(self.shapes.expansion.min(axis=1) >= 1)


@cache
def load_published() -> PublishedTable:
    """The shipped table."""
    return PublishedTable.read(SHIPPED)


def _read_frame(path: Path) -> pandas.DataFrame:
    import pandas

    try:
        frame = pandas.read_csv(
            path,
            dtype={"model": str, "family": str, "line": str},
            skipinitialspace=True,  # `a, b` is as common as `a,b`
            low_memory=False,
        )
    except (OSError, ValueError, pandas.errors.ParserError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(
            f"{path}: cannot be read as a table of networks ({reason}). Give a CSV file with the "
            f"columns {list_names(COLUMNS)}."
        ) from error
    missing = [name for name in COLUMNS if name not in frame]
    if missing:
        present = [_to_one_line(column) for column in frame.columns]
        commas = " Separate them by commas." if len(present) == 1 else ""
        raise ConfigError(
            f"{path}: must have a column {missing[0]} (got {list_names(present)}). "
            f"The columns are those of the shipped imagenet_topology.csv.{commas}"
        )
    frame = frame.reset_index(drop=True)
    _check_names(path, frame)
    for column in COLUMNS[2:]:
        _check_column(path, frame, column)
    return frame


def _check_names(path: Path, frame: pandas.DataFrame) -> None:
    if not len(frame):
        raise ConfigError(f"{path}: must hold networks (got none). Add a row for each.")
    named = [name for name in ("model", "family", "line") if name in frame]
    nameless = frame[named].isna().any(axis=1).to_numpy()
    if nameless.any():
        raise ConfigError(
            f"{path}: row {_find_row(nameless)}: needs a name in {list_names(named)} (got "
            "nothing). Write them."
        )
    same_name = frame["model"].duplicated()
    repeated = (same_name | frame[list(COLUMNS[1:])].duplicated()).to_numpy()
    if repeated.any():
        row, name = _find_row(repeated), _to_one_line(frame["model"].to_list()[repeated.argmax()])
        raise ConfigError(f"{path}: row {row}: stands there already (got {name}). Keep one.")


def _check_column(path: Path, frame: pandas.DataFrame, column: str) -> None:
    """Turn a column to numbers."""
    import pandas

    numbers = pandas.to_numeric(frame[column], errors="coerce").to_numpy(float)
    rule, good = "a number above 0", np.isfinite(numbers) & (numbers > 0)
    if column in _FLAGS:
        rule, good = "0 or 1", np.isin(numbers, (0, 1))
    elif column in _COSTS:
        rule, good = "above 0 and below 100,000 (in G or M)", good & (numbers < _MOST)
    elif column == "top1":
        rule, good = "a percentage, from 1 to below 100", (numbers >= 1) & (numbers < 100)
    if not good.all():
        at = int((~good).argmax())
        name, value = (_to_one_line(frame[of].to_list()[at]) for of in ("model", column))
        raise ConfigError(
            f"{path}: row {_find_row(~good)} ({name}): {column} must be {rule} (got {value}). "
            "Correct it, or leave the row out."
        )
    frame[column] = numbers


def _to_one_line(cell: object) -> str:
    """What stands in a cell, which may have lines."""
    return " ".join(str(cell).split())


def _find_row(wrong: NDArray[np.bool_]) -> int:
    """The line of the file that the first wrong row stands in."""
    return int(wrong.argmax()) + 2
