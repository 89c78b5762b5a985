"""The run directory: what a search leaves behind, valid at any moment.

runs/<name>/
  run.yaml       settings, seed, space, versions, device; written before anything else
  study.db       the trials (SQLite, by Optuna), unless --storage names another place
  trainings/     of an evaluator that trains: checkpoints of candidates
  front.csv      the front and the baselines, with the provenance of every column
  front/0.yaml   model configs, best score first
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from smt_nas.errors import StoreError
from smt_nas.evaluators import EvaluatorChoice
from smt_nas.evaluators.evidence import AnyEvidence
from smt_nas.files import locked, shell_word, sqlite_url, to_text, write_atomic
from smt_nas.search.problem.forecast import TargetRecord
from smt_nas.search.problem.objectives import BEFORE_DEVICES
from smt_nas.search.problem.region import Region, load_region
from smt_nas.search.run_file import (
    RUN_FILE,
    WISHES,
    EarlierBudgets,
    describe_device,
    describe_machine,
    explain_taken,
    is_same_search,
    list_versions,
    mask_password,
    read_run_file,
)
from smt_nas.search.settings import Settings
from smt_nas.search.storage.database import HIDDEN, check_url
from smt_nas.search.watch.history_table import FILE as HISTORY_FILE
from smt_nas.space import SearchSpace
from smt_nas.yaml import read_yaml, to_yaml

TRAININGS = "trainings"
FINGERPRINT = "fingerprint"  # of the evaluator, in what a study's trials depend on
DEVICES = "devices"  # that latencies are predicted for; told, not compared: `predictions` are


class RunDirectory:
    """A run directory that exists. Made by `create` or `open`.

    Attributes:
        path: the folder.
        settings: what was asked for.
        space: the search space as it was then, whatever its file says now.
        study_name: name of the study in its storage; stays when the folder is moved.
        targets: devices and conditions that its latencies are of; the search's own first.
        evidence: what its evaluator's figures rest on; a sentence in runs of before, None without
            one.
        fingerprint: of its evaluator; None without one, and in runs of before.
        machine: that it was begun on, in words.
        earlier_budgets: those before the ones of the settings, oldest first.
    """

    def __init__(
        self,
        path: Path,
        settings: Settings,
        space: SearchSpace,
        study: str,
        targets: Sequence[TargetRecord] = (),
        evidence: AnyEvidence | str | None = None,
        fingerprint: str | None = None,
        machine: str | None = None,
        earlier_budgets: Sequence[EarlierBudgets] = (),
    ) -> None:
        self.path = path
        self.settings = settings
        self.space = space
        self.study_name = study
        self.targets = tuple(targets) or (TargetRecord(target=BEFORE_DEVICES),)
        self.evidence = evidence
        self.fingerprint = fingerprint
        self.machine = machine or describe_machine()
        self.earlier_budgets = tuple(earlier_budgets)

    @classmethod
    def create(
        cls,
        path: Path | None,
        settings: Settings,
        space: SearchSpace,
        targets: Sequence[TargetRecord] = (),
        evidence: AnyEvidence | None = None,
        fingerprint: str | None = None,
    ) -> RunDirectory:
        """Make a new run directory; without a path, `runs/<space>-<budget>`, numbered if taken.

        Raises:
            StoreError: the folder holds something, or cannot be written.
        """
        path = _make_folder(settings, path)
        study = to_text(path.resolve().name)
        directory = cls(path, settings, space, study, targets, evidence, fingerprint)
        with directory.lock():
            cls.is_same(path, settings, allowed=False)
            content = {
                "schema": 1,
                "study": directory.study_name,
                "settings": mask_password(settings),
                "space": space.config.model_dump(mode="json"),
                "versions": list_versions(),
                "device": describe_device(),
                "machine": directory.machine,
                "targets": [r.model_dump(mode="json") for r in targets],
                "evidence": None if evidence is None else evidence.model_dump(mode="json"),
                "evaluator_fingerprint": fingerprint,
            }
            write_atomic(path / RUN_FILE, to_yaml(content))
        return directory

    def discard(self) -> None:
        """Take back `create`: its study could not be made."""
        with contextlib.suppress(OSError):
            (self.path / RUN_FILE).unlink()
            (self.path / ".lock").unlink(missing_ok=True)
            self.path.rmdir()

    @classmethod
    def open(
        cls, path: Path, storage: str | None = None, reads_trials: bool = True
    ) -> RunDirectory:
        """Open a run directory.

        Args:
            path: the folder.
            storage: replaces a URL whose password was not kept.
            reads_trials: else no password is needed.

        Raises:
            ConfigError: `storage` is no URL.
            StoreError: not a run directory, or a half-written one.
        """
        file = read_run_file(path)
        settings = file.settings
        if storage is not None:
            check_url(storage)
            settings = settings.model_copy(update={"storage": storage})
        elif reads_trials and HIDDEN in (settings.storage or ""):
            raise StoreError(
                f"{path}: the password of {settings.storage} was not kept. Repeat --storage with "
                "it."
            )
        space = SearchSpace(file.space, settings.space)
        return cls(
            path,
            settings,
            space,
            file.study,
            file.targets,
            file.evidence,
            file.evaluator_fingerprint,
            file.machine or file.device,
            file.earlier_budgets,
        )

    @staticmethod
    def is_same(path: Path, settings: Settings, allowed: bool) -> bool:
        """Whether a folder holds a search of these settings, of any number of networks.

        Raises:
            StoreError: it does and that is not `allowed`, or it holds something else.
        """
        _check_empty(path)
        if not (path / RUN_FILE).is_file():
            return False
        if not (allowed and is_same_search(read_run_file(path).settings, settings)):
            raise StoreError(explain_taken(path, settings))
        return True

    @staticmethod
    def read_region(path: Path) -> Region | None:
        """The region of the search that a folder holds; None where it holds none."""
        if not (path / RUN_FILE).is_file():
            return None
        return read_run_file(path).settings.region or "none"

    @staticmethod
    def read_batch(path: Path) -> int | None:
        """The batch of the search that a folder holds; None where it holds none."""
        return read_run_file(path).settings.batch if (path / RUN_FILE).is_file() else None

    def adopt_wishes(self, wished: Settings) -> None:
        """Write down how long is to be searched from now on, and what after. Raises StoreError."""
        values = read_yaml(self.path / RUN_FILE)
        wishes = {name: getattr(wished, name) for name in WISHES}
        plain = {k: v for k, v in wished.model_dump(mode="json").items() if k in WISHES}
        write_atomic(
            self.path / RUN_FILE, to_yaml(values | {"settings": values["settings"] | plain})
        )
        self.settings = self.settings.model_copy(update=wishes)

    def within(
        self, budgets: Sequence[str], targets: Sequence[TargetRecord], earlier: EarlierBudgets
    ) -> RunDirectory:
        """The same run within other budgets, in a study of its own; nothing is written."""
        history = (*self.earlier_budgets, earlier)
        return RunDirectory(
            self.path,
            self.settings.model_copy(update={"budgets": tuple(budgets)}),
            self.space,
            f"{history[0].study}, budgets {len(history) + 1}",
            targets,
            self.evidence,
            self.fingerprint,
            self.machine,
            history,
        )

    def adopt(self, changed: RunDirectory) -> None:
        """Become what `within` gave, and write it down. Raises StoreError."""
        values = read_yaml(self.path / RUN_FILE)
        budgets = list(changed.settings.budgets)
        values |= {
            "study": changed.study_name,
            "settings": values["settings"] | {"budgets": budgets},
            "targets": [r.model_dump(mode="json") for r in changed.targets],
            "earlier_budgets": [e.model_dump(mode="json") for e in changed.earlier_budgets],
        }
        write_atomic(self.path / RUN_FILE, to_yaml(values))
        self.settings, self.study_name = changed.settings, changed.study_name
        self.targets, self.earlier_budgets = changed.targets, changed.earlier_budgets

    def adopt_evaluator(
        self, fingerprint: str, study: str | None = None, evidence: AnyEvidence | None = None
    ) -> None:
        """Write down which evaluator the trials are of, and in which study. Raises StoreError."""
        values = read_yaml(self.path / RUN_FILE) | {"evaluator_fingerprint": fingerprint}
        self.fingerprint = fingerprint
        if study is not None:
            written = None if evidence is None else evidence.model_dump(mode="json")
            values |= {"study": study, "evidence": written}
            self.study_name, self.evidence = study, evidence
        write_atomic(self.path / RUN_FILE, to_yaml(values))

    @property
    def database(self) -> Path:
        """The SQLite file, used where no storage was named."""
        return self.path / "study.db"

    @property
    def holds_study(self) -> bool:
        """Whether there is a study, as far as files tell: a full disk leaves empty ones."""
        file = self.database
        return self.settings.storage is not None or (file.is_file() and file.stat().st_size > 0)

    @property
    def has_worked(self) -> bool:
        """Whether a process has searched here: it writes one of these before its first trial."""
        return any((self.path / name).is_file() for name in (HISTORY_FILE, "front.csv"))

    @property
    def storage(self) -> str:
        """URL of the study's storage."""
        return self.settings.storage or sqlite_url(self.database)

    @property
    def identity(self) -> dict[str, Any]:
        """What the trials depend on, as plain values."""
        names = ("seed", "budgets", "objectives", "strategy", "batch")
        values = self.settings.model_dump(mode="json")
        identity: dict[str, Any] = {"space": self.space.digest, **{n: values[n] for n in names}}
        identity |= _evaluator_identity(self.settings.evaluator)
        forecasts = {str(r.target): r.forecast.digest for r in self.targets if r.forecast}
        if forecasts:
            identity["predictions"] = forecasts
            identity[DEVICES] = {str(r.target): r.target.place.name for r in self.targets}
        if self.fingerprint is not None:
            identity[FINGERPRINT] = self.fingerprint
        region = load_region(self.settings.region)
        if region is not None:
            identity["region"] = f"published designs to {region.limit:.3f}"
        return identity

    def lock(self) -> AbstractContextManager[None]:
        """Hold the directory for writing; see `files.locked`."""
        return locked(self.path, f"`smt-nas front {shell_word(self.path)}` reads it.")


def _evaluator_identity(choice: EvaluatorChoice | None) -> dict[str, Any]:
    """The evaluator, under the words that studies have it by from the first."""
    if choice is None:
        return {"evaluator": None}
    training = {"training": choice.training} if choice.training else {}
    return {"evaluator": choice.kind} | training


def _make_folder(settings: Settings, path: Path | None) -> Path:
    """Make the folder; of two searches that start at once, each gets its own default name."""
    while True:
        folder = _free_name(settings) if path is None else path
        try:
            folder.mkdir(parents=True, exist_ok=path is not None)
        except FileExistsError as error:
            if path is None:
                continue
            raise StoreError(f"{folder}: is a file. Choose another --out.") from error
        except OSError as error:
            raise StoreError(
                f"{folder}: cannot be made a run directory ({error.strerror}). Choose another "
                "--out."
            ) from error
        return folder


def _free_name(settings: Settings) -> Path:
    words = [Path(settings.space).stem, *settings.budgets]
    name = "-".join("".join(c if c.isalnum() or c in "._" else "_" for c in w) for w in words)[:80]
    number = 1
    while (path := Path("runs") / (name if number == 1 else f"{name}-{number}")).exists():
        number += 1
    return path


def _check_empty(path: Path) -> None:
    """Raise StoreError where a folder holds something and no run."""
    if not path.is_dir():
        return
    occupied = sorted(p.name for p in path.iterdir() if not p.name.startswith("."))
    if occupied and RUN_FILE not in occupied:
        raise StoreError(f"{path}: must be empty or new (got {occupied[0]}). Choose another --out.")


def find_other_machine(directory: RunDirectory) -> str | None:
    """This machine, where a run was begun on another one; None where it is the same."""
    here = describe_machine()
    return None if directory.machine in (here, describe_device()) else here
