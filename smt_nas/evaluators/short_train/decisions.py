"""What was decided of networks, kept beside their trainings so that it is decided once.

FOLDER/
  evaluations.json   by key, written when all networks of a race are evaluated
  KEY/               the training of each; its checkpoints go when it is evaluated
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from smt_nas.errors import StoreError
from smt_nas.evaluators.base import Evaluation
from smt_nas.files import check_same, write_atomic

FILE = "evaluations.json"


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = Field(alias="schema")
    settings: dict[str, Any]
    evaluations: dict[str, dict[str, Any]]


def read_decisions(folder: Path, settings: Mapping[str, Any]) -> dict[str, Evaluation]:
    """Evaluations by key; none where nothing was decided yet.

    Args:
        folder: of the trainings.
        settings: what they are asked for now, as JSON has it.

    Raises:
        StoreError: the file is damaged, or its networks were trained with other settings.
    """
    path = folder / FILE
    if not path.is_file():
        return {}
    try:
        there = _File.model_validate_json(path.read_bytes())
        decided = {k: Evaluation.from_record(r) for k, r in there.evaluations.items()}
    except (OSError, ValidationError, KeyError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        raise StoreError(
            f"{path}: must hold evaluations (got: {reason}). Remove {folder} to train anew."
        ) from error
    old = {name: there.settings.get(name) for name in settings}
    way_out = "Repeat it with those settings, or in another folder."
    check_same(folder, "holds trainings", old, settings, way_out)
    return decided


def write_decisions(
    folder: Path, settings: Mapping[str, Any], evaluations: Mapping[str, Evaluation]
) -> None:
    """Replace what was decided. Raises StoreError; the old file is then kept."""
    records = {key: evaluation.to_record() for key, evaluation in evaluations.items()}
    content = _File.model_validate(
        {"schema": 1, "settings": dict(settings), "evaluations": records}
    )
    write_atomic(folder / FILE, content.model_dump_json(by_alias=True, indent=1) + "\n")
