"""losses.csv: how the losses of a supernet fell while it was trained."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from smt_nas.errors import StoreError, one_line
from smt_nas.files import write_atomic


@dataclass(frozen=True)
class LossRow:
    """A row of losses.csv: means over the steps since the row before that were made.

    Attributes:
        step: steps so far.
        loss_big: cross entropy of the big networks; None where all steps were left out.
        kl: divergence of the others from it.
        norm: of the gradients before clipping.
        lr: of the last step.
        skipped: steps left out since the row before.
        seconds: of the whole training so far, in all its starts.
    """

    step: int
    loss_big: float | None
    kl: float | None
    norm: float | None
    lr: float
    skipped: int
    seconds: float


def write_losses(path: Path, rows: list[LossRow]) -> None:
    """Replace losses.csv. Raises StoreError; the old file is kept."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [f.name for f in fields(LossRow)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    write_atomic(path, text.getvalue())


def read_losses(path: Path) -> list[LossRow]:
    """Rows of a losses.csv; none where there is no file yet. Raises StoreError: it is damaged."""
    if not path.is_file():
        return []
    whole = {"step", "skipped"}
    try:
        rows = csv.DictReader(path.read_text(encoding="utf-8").splitlines())
        return [
            LossRow(
                **{k: None if not v else int(v) if k in whole else float(v) for k, v in r.items()}  # type: ignore[arg-type]
            )
            for r in rows
        ]
    except (OSError, ValueError, TypeError) as error:
        raise StoreError(
            f"{path}: must hold the losses of a training (got {one_line(error)}). Restore it, or "
            "remove it: only its curve is lost."
        ) from error
