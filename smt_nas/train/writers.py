"""Where the rows of a training go, one an epoch: metrics.csv always, others where asked for.

Nothing leaves the machine: MLflow writes into a database in the run's folder and W&B is offline,
unless the user's environment (MLFLOW_TRACKING_URI, WANDB_MODE) says otherwise.
"""

from __future__ import annotations

import csv
import importlib
import io
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from smt_nas.errors import TrainingError, one_line
from smt_nas.files import write_atomic
from smt_nas.runtime.progress import EpochMetrics
from smt_nas.train.settings import Log
from smt_nas.train.training_directory import is_run, read_settings

CSV = "metrics.csv"
_PROJECT = "smt-nas"
_PARAMETER = 500  # characters that every version of MLflow stores of a value

Say = Callable[[str], None]


class Writer(Protocol):
    """Keeps the rows of a training."""

    def row(self, values: EpochMetrics) -> None:
        """Keep the row of an epoch; its `epoch` is the step, None is left out."""

    def close(self) -> None:
        """Write what is still held."""


def open_writers(
    log: Sequence[Log], run: Path, history: Sequence[EpochMetrics], say: Say | None = None
) -> list[Writer]:
    """Open metrics.csv and the writers asked for.

    A resumed training gives the rows it has; later ones of an earlier start are superseded. A
    writer other than metrics.csv that fails later is told of once, and left out from then on.

    Args:
        log: names of writers beside metrics.csv.
        run: the training's folder.
        history: rows of the epochs so far.
        say: hears of a writer that fails; by default a warning is logged.

    Raises:
        TrainingError: a library is not installed, or its writer cannot be opened.
        StoreError: metrics.csv cannot be written.
    """
    said = say or logging.getLogger(__name__).warning
    writers: list[Writer] = [CsvWriter(run / CSV, history)]
    for name in dict.fromkeys(log):
        try:
            writer = _WRITERS[name](run, history)
        except TrainingError:
            raise
        except Exception as error:  # the library's own, a server's, a disk's
            raise TrainingError(
                f"--log {name}: cannot be opened (got {one_line(error)}). Leave it out: "
                "metrics.csv has it all."
            ) from error
        writers.append(_Forgiving(name, writer, said))
    return writers


class CsvWriter:
    """metrics.csv: all rows, written anew each epoch, so that it is whole at any moment.

    Columns stand in the order they are first seen in. An empty cell was not measured.
    """

    def __init__(self, path: Path, history: Sequence[EpochMetrics] = ()) -> None:
        self._path = path
        self._rows = list(history)
        if self._rows:
            self._write()

    def row(self, values: EpochMetrics) -> None:
        """Add a row. Raises StoreError where it cannot be written; the old file is kept."""
        self._rows.append(dict(values))
        self._write()

    def close(self) -> None:
        """Do nothing: all is written."""

    def _write(self) -> None:
        columns = list(dict.fromkeys(name for row in self._rows for name in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._rows)
        write_atomic(self._path, text.getvalue())


class TensorBoardWriter:
    """Event files in RUN/tensorboard."""

    def __init__(self, run: Path, history: Sequence[EpochMetrics]) -> None:
        try:
            tensorboard: Any = importlib.import_module("torch.utils.tensorboard")
        except ImportError as error:
            raise _missing("tensorboard", "train") from error
        folder = run / "tensorboard"
        fresh = not folder.exists()
        # steps from there on were written by a start that was killed before its checkpoint
        begin = 1 if fresh else _last_epoch(history) + 1
        self._writer = tensorboard.SummaryWriter(log_dir=str(folder), purge_step=begin)
        for row in history if fresh else ():
            self.row(row)

    def row(self, values: EpochMetrics) -> None:
        """Add a point to each curve."""
        for name, value in _measured(values).items():
            self._writer.add_scalar(name, value, global_step=_epoch(values))
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()


class MlflowWriter:
    """A run of MLflow: in RUN/mlflow.db, or at MLFLOW_TRACKING_URI."""

    def __init__(self, run: Path, history: Sequence[EpochMetrics]) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when it is imported
        mlflow = _imported("mlflow")
        uri = os.environ.get("MLFLOW_TRACKING_URI")
        self._client: Any = mlflow.MlflowClient(tracking_uri=uri or _database(run))
        note = run / ".mlflow"  # which run of MLflow's this training is
        if note.is_file():
            self._id = note.read_text(encoding="utf-8").strip()
            known = self._client.get_metric_history(self._id, "epoch")
            self._done = max((metric.step for metric in known), default=0)
        else:
            self._id = self._begun(None if uri else (run / "mlruns").resolve().as_uri(), run)
            self._done = 0
            write_atomic(note, f"{self._id}\n")
        for row in history:
            self.row(row)

    def row(self, values: EpochMetrics) -> None:
        """Add a point to each curve, unless an earlier start did: MLflow would keep both."""
        step = _epoch(values)
        if step <= self._done:
            return
        now = int(time.time() * 1000)
        for name, value in _measured(values).items():
            self._client.log_metric(self._id, name, value, timestamp=now, step=step)
        self._done = step

    def close(self) -> None:
        """Mark the run as ended; a resumed training goes on with it all the same."""
        self._client.set_terminated(self._id)

    def _begun(self, artifacts: str | None, run: Path) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", _PROJECT)
        found = self._client.get_experiment_by_name(name)
        experiment = (
            self._client.create_experiment(name, artifact_location=artifacts)
            if found is None
            else found.experiment_id
        )
        made = self._client.create_run(experiment, run_name=run.resolve().name)
        identity: str = made.info.run_id
        for key, value in _flat(_settings(run)).items():
            self._client.log_param(identity, key, str(value)[:_PARAMETER])
        return identity


class WandbWriter:
    """A run of Weights & Biases in RUN/wandb, offline unless WANDB_MODE says otherwise."""

    def __init__(self, run: Path, history: Sequence[EpochMetrics]) -> None:
        offline = "WANDB_MODE" not in os.environ
        if offline:
            os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # read when it is imported
        wandb = _imported("wandb")
        note = run / ".wandb-id"
        identity = note.read_text(encoding="utf-8").strip() if note.is_file() else None
        self._run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT", _PROJECT),
            dir=str(run),
            name=run.resolve().name,
            id=identity,
            resume="allow",
            config=_settings(run),
            mode="offline" if offline else None,
            settings=wandb.Settings(silent=True, console="off"),
        )
        if identity is None:
            write_atomic(note, f"{self._run.id}\n")
            for row in history:
                self.row(row)

    def row(self, values: EpochMetrics) -> None:
        """Add a point to each curve."""
        self._run.log(_measured(values), step=_epoch(values))

    def close(self) -> None:
        """End the run; `wandb sync` uploads it, where the user wants that."""
        self._run.finish()


class _Forgiving:
    """A writer whose failure ends no training."""

    def __init__(self, name: str, writer: Writer, say: Say) -> None:
        self._name, self._writer, self._say = name, writer, say
        self._works = True

    def row(self, values: EpochMetrics) -> None:
        """Hand on a row."""
        self._try(lambda: self._writer.row(values))

    def close(self) -> None:
        """Close."""
        self._try(self._writer.close)

    def _try(self, act: Callable[[], None]) -> None:
        if not self._works:
            return
        try:
            act()
        except Exception as error:  # a server that went away, a full disk, a bug of the library's
            self._works = False
            self._say(
                f"--log {self._name}: failed ({one_line(error)}) and is left out from here on; "
                "metrics.csv has it all."
            )


_WRITERS: Mapping[Log, Callable[[Path, Sequence[EpochMetrics]], Writer]] = {
    "tensorboard": TensorBoardWriter,
    "mlflow": MlflowWriter,
    "wandb": WandbWriter,
}


def _imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise _missing(name, name) from error


def _missing(name: str, extra: str) -> TrainingError:
    return TrainingError(
        f"--log {name}: must be installed for this (got none). `pip install 'smt-nas[{extra}]'`."
    )


def _database(run: Path) -> str:
    """MLflow's plain files are no more; a database is one file too."""
    return f"sqlite:///{(run / 'mlflow.db').resolve()}"


def _epoch(values: EpochMetrics) -> int:
    return int(values["epoch"] or 0)


def _last_epoch(history: Sequence[EpochMetrics]) -> int:
    return _epoch(history[-1]) if history else 0


def _measured(values: EpochMetrics) -> dict[str, float]:
    return {name: float(value) for name, value in values.items() if value is not None}


def _settings(run: Path) -> dict[str, Any]:
    """What the training was asked for, where its folder says so."""
    return read_settings(run).model_dump(mode="json") if is_run(run) else {}


def _flat(values: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """`{"recipe.epochs": 12}` from nested settings; the network's blocks are in arch.yaml."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{path}{name}.")
        elif name != "stages":
            found[f"{path}{name}"] = value
    return found
