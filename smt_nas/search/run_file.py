"""run.yaml: what a run was asked for, and with what it was begun, written before anything else."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from smt_nas.errors import ConfigError, StoreError
from smt_nas.evaluators.evidence import AnyEvidence
from smt_nas.files import shell_word
from smt_nas.runtime.host import read_host
from smt_nas.search.problem.forecast import TargetRecord
from smt_nas.search.settings import Settings
from smt_nas.search.storage.database import hide_password
from smt_nas.search.strategies import SCREENED_BATCH, read_earlier_settings
from smt_nas.space import SpaceConfig
from smt_nas.yaml import read_yaml, validated

_VERSIONS = ("smt-nas", "torch", "numpy", "optuna", "pymoo", "scikit-learn", "fvcore", "thop")
RUN_FILE = "run.yaml"
WISHES = ("n", "stop", "train_top")
"""Fields of settings that say how long to go on; they change with every start."""


class EarlierBudgets(BaseModel):
    """Budgets that a run had before they were changed.

    Attributes:
        budgets: as in `Settings`.
        study: name of the study whose trials are judged by them.
        trials: how many were tried by then.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    budgets: tuple[str, ...]
    study: str
    trials: int


class RunFile(BaseModel):
    """What run.yaml holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = Field(alias="schema")
    study: str
    settings: Settings
    space: SpaceConfig
    versions: dict[str, str]
    device: str
    machine: str | None = None
    targets: tuple[TargetRecord, ...] = ()
    evidence: AnyEvidence | str | None = None
    evaluator_fingerprint: str | None = None
    earlier_budgets: tuple[EarlierBudgets, ...] = ()

    @field_validator("settings", mode="before")
    @classmethod
    def _read_earlier(cls, values: Any) -> Any:
        return read_earlier_settings(values) if isinstance(values, Mapping) else values


def mask_password(settings: Settings) -> dict[str, Any]:
    """Settings as plain values; the password of a storage URL is not written to disk."""
    values = settings.model_dump(mode="json")
    if settings.storage is not None:
        values["storage"] = hide_password(settings.storage)
    return values


def read_run_file(path: Path) -> RunFile:
    """Read the file of a run directory. Raises StoreError: there is none, or a half-written one."""
    file = path / RUN_FILE
    if not file.is_file():
        raise StoreError(
            f"{path}: is not a run directory (no run.yaml). Start one with `smt-nas search "
            f"--out {shell_word(path)}`."
        )
    try:
        return validated(RunFile, read_yaml(file), str(file))
    except ConfigError as error:
        raise StoreError(f"{error} Restore that file, or search with another --out.") from error


def is_same_search(one: Settings, other: Settings) -> bool:
    """Whether two searches differ in nothing but how long they go on."""
    return _list_compared(one) == _list_compared(other)


def _list_compared(settings: Settings) -> dict[str, Any]:
    """Settings as they are compared; in files of before there was no region, and no batch."""
    values = {k: v for k, v in mask_password(settings).items() if k not in WISHES}
    batch = values["batch"] or SCREENED_BATCH
    return values | {"region": values["region"] or "none", "batch": batch}


def explain_taken(path: Path, settings: Settings) -> str:
    """Why a search of these settings cannot begin in a folder that holds one."""
    stored, requested = (_list_compared(s) for s in (read_run_file(path).settings, settings))
    if is_same_search(read_run_file(path).settings, settings):
        return f"{path}: holds this very search already. Use `smt-nas resume {shell_word(path)}`."
    field = next(f for f in requested if stored[f] != requested[f])
    old, new = stored[field], requested[field]
    if field == "budgets" and new:
        budgets = " ".join(f"--budget {shell_word(b)}" for b in new)
        return (
            f"{path}: holds a search with budgets {old} (got {new}). Use `smt-nas resume "
            f"{shell_word(path)} {budgets}` to judge it by these, or another --out."
        )
    return (
        f"{path}: holds a search with {field} {old} (got {new}). Use `smt-nas resume "
        f"{shell_word(path)}`, or another --out."
    )


def list_versions() -> dict[str, str]:
    """Of Python and of the packages that a search depends on."""
    versions = {"python": platform.python_version()}
    for name in _VERSIONS:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def describe_device() -> str:
    """This machine's processor, in words."""
    cpu = ""
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            models = (line.partition(":")[2].strip() for line in file if "model name" in line)
            cpu = next(models, "")
    return f"{cpu or platform.processor() or platform.machine()} ({os.cpu_count()} cores)"


def describe_machine() -> str:
    """The same, told apart from others of its name: virtual machines all have an `AMD EPYC`."""
    host = read_host()
    words = [*dict.fromkeys(reversed(host.names)), f"{host.threads} threads"]
    return ", ".join(words)
