"""Where the metrics of each epoch go: metrics.csv always, others where asked for.

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
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Protocol

from smt_nas.errors import TrainingError, one_line
from smt_nas.files import sqlite_url, write_atomic
from smt_nas.runtime.progress import EpochMetrics
from smt_nas.train.train_config import WriterName
from smt_nas.train.training_directory import is_training_directory, read_config

CSV = "metrics.csv"
_PROJECT = "smt-nas"
_PARAMETER = 500  # characters that every version of MLflow stores of a value

Say = Callable[[str], None]


class MetricsWriter(Protocol):
    """Keeps the metrics of a training."""

    def write(self, metrics: EpochMetrics) -> None:
        """Keep the metrics of an epoch; its `epoch` is the step, None is left out."""

    def close(self) -> None:
        """Write what is still held."""


def open_writers(
    log: Sequence[WriterName], run: Path, history: Sequence[EpochMetrics], say: Say | None = None
) -> list[MetricsWriter]:
    """Open metrics.csv and the writers asked for.

    A resumed training gives the metrics it has; later ones of an earlier start are superseded. A
    writer other than metrics.csv that fails later is told of once, and left out from then on.

    Args:
        log: names of writers beside metrics.csv.
        run: the training's folder.
        history: metrics of the epochs so far.
        say: hears of a writer that fails; by default a warning is logged.

    Raises:
        TrainingError: a library is not installed, or its writer cannot be opened.
        StoreError: metrics.csv cannot be written.
    """
    warn = say or logging.getLogger(__name__).warning
    writers: list[MetricsWriter] = [CsvWriter(run / CSV, history)]
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
        writers.append(_FaultTolerantWriter(name, writer, warn))
    return writers


class CsvWriter:
    """metrics.csv: a row an epoch, all written anew each time, so that it is whole at any moment.

    Columns are the fields of `EpochMetrics`, in their order. An empty cell was not measured.
    """

    def __init__(self, path: Path, history: Sequence[EpochMetrics] = ()) -> None:
        self._path = path
        self._history = list(history)
        if self._history:
            self._write()

    def write(self, metrics: EpochMetrics) -> None:
        """Add a row. Raises StoreError where it cannot be written; the old file is kept."""
        self._history.append(metrics)
        self._write()

    def close(self) -> None:
        """Do nothing: all is written."""

    def _write(self) -> None:
        text = io.StringIO()
        columns = [field.name for field in fields(EpochMetrics)]
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(metrics) for metrics in self._history)
        write_atomic(self._path, text.getvalue())


def read_metrics(run: Path) -> list[EpochMetrics]:
    """Rows of the metrics.csv of a training's folder; none where there is none yet."""
    file = run / CSV
    if not file.is_file():
        return []
    rows = csv.DictReader(file.read_text(encoding="utf-8").splitlines())
    figures = ({name: float(v) for name, v in row.items() if v} for row in rows)
    return [EpochMetrics.from_dict(row | {"epoch": int(row["epoch"])}) for row in figures]


class TensorBoardWriter:
    """Event files in RUN/tensorboard."""

    def __init__(self, run: Path, history: Sequence[EpochMetrics]) -> None:
        try:
            tensorboard: Any = importlib.import_module("torch.utils.tensorboard")
        except ImportError as error:
            raise _missing_library("tensorboard", "train") from error
        folder = run / "tensorboard"
        fresh = not folder.exists()
        # steps from there on were written by a start that was killed before its checkpoint
        first_step = 1 if fresh or not history else history[-1].epoch + 1
        self._writer = tensorboard.SummaryWriter(log_dir=str(folder), purge_step=first_step)
        for metrics in history if fresh else ():
            self.write(metrics)

    def write(self, metrics: EpochMetrics) -> None:
        """Add a point to each curve."""
        for name, value in metrics.measured().items():
            self._writer.add_scalar(name, value, global_step=metrics.epoch)
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()


class MlflowWriter:
    """A run of MLflow: in RUN/mlflow.db, or at MLFLOW_TRACKING_URI."""

    def __init__(self, run: Path, history: Sequence[EpochMetrics]) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when it is imported
        mlflow = _import_library("mlflow")
        uri = os.environ.get("MLFLOW_TRACKING_URI")
        self._client: Any = mlflow.MlflowClient(tracking_uri=uri or _database_uri(run))
        note = run / ".mlflow"  # which run of MLflow's this training is
        if note.is_file():
            self._id = note.read_text(encoding="utf-8").strip()
            points = self._client.get_metric_history(self._id, "epoch")
            self._last_step = max((point.step for point in points), default=0)
        else:
            self._id = self._create_run(None if uri else (run / "mlruns").resolve().as_uri(), run)
            self._last_step = 0
            write_atomic(note, f"{self._id}\n")
        for metrics in history:
            self.write(metrics)

    def write(self, metrics: EpochMetrics) -> None:
        """Add a point to each curve, unless an earlier start did: MLflow would keep both."""
        step = metrics.epoch
        if step <= self._last_step:
            return
        now = int(time.time() * 1000)
        for name, value in metrics.measured().items():
            self._client.log_metric(self._id, name, value, timestamp=now, step=step)
        self._last_step = step

    def close(self) -> None:
        """Mark the run as ended; a resumed training goes on with it all the same."""
        self._client.set_terminated(self._id)

    def _create_run(self, artifacts: str | None, run: Path) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", _PROJECT)
        known = self._client.get_experiment_by_name(name)
        experiment = (
            self._client.create_experiment(name, artifact_location=artifacts)
            if known is None
            else known.experiment_id
        )
        created = self._client.create_run(experiment, run_name=run.resolve().name)
        identity: str = created.info.run_id
        for key, value in _flatten(_read_config_values(run)).items():
            self._client.log_param(identity, key, str(value)[:_PARAMETER])
        return identity


class WandbWriter:
    """A run of Weights & Biases in RUN/wandb, offline unless WANDB_MODE says otherwise."""

    def __init__(self, run: Path, history: Sequence[EpochMetrics]) -> None:
        offline = "WANDB_MODE" not in os.environ
        if offline:
            os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # read when it is imported
        wandb = _import_library("wandb")
        note = run / ".wandb-id"
        identity = note.read_text(encoding="utf-8").strip() if note.is_file() else None
        self._run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT", _PROJECT),
            dir=str(run),
            name=run.resolve().name,
            id=identity,
            resume="allow",
            config=_read_config_values(run),
            mode="offline" if offline else None,
            settings=wandb.Settings(silent=True, console="off"),
        )
        if identity is None:
            write_atomic(note, f"{self._run.id}\n")
            for metrics in history:
                self.write(metrics)

    def write(self, metrics: EpochMetrics) -> None:
        """Add a point to each curve."""
        self._run.log(metrics.measured(), step=metrics.epoch)

    def close(self) -> None:
        """End the run; `wandb sync` uploads it, where the user wants that."""
        self._run.finish()


class _FaultTolerantWriter:
    """A writer whose failure ends no training."""

    def __init__(self, name: str, writer: MetricsWriter, say: Say) -> None:
        self._name, self._writer, self._say = name, writer, say
        self._works = True

    def write(self, metrics: EpochMetrics) -> None:
        """Hand on an epoch's metrics."""
        self._attempt(lambda: self._writer.write(metrics))

    def close(self) -> None:
        """Close."""
        self._attempt(self._writer.close)

    def _attempt(self, act: Callable[[], None]) -> None:
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


_WRITERS: Mapping[WriterName, Callable[[Path, Sequence[EpochMetrics]], MetricsWriter]] = {
    "tensorboard": TensorBoardWriter,
    "mlflow": MlflowWriter,
    "wandb": WandbWriter,
}


def _import_library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise _missing_library(name, name) from error


def _missing_library(name: str, extra: str) -> TrainingError:
    return TrainingError(
        f"--log {name}: must be installed for this (got none). `pip install 'smt-nas[{extra}]'`."
    )


def _database_uri(run: Path) -> str:
    """MLflow's plain files are no more; a database is one file too."""
    return sqlite_url(run / "mlflow.db")


def _read_config_values(run: Path) -> dict[str, Any]:
    """What the training was asked for, where its folder says so."""
    return read_config(run).model_dump(mode="json") if is_training_directory(run) else {}


def _flatten(values: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """`{"recipe.epochs": 12}` from nested settings; the network's blocks are in arch.yaml."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{path}{name}.")
        elif name != "stages":
            flat[f"{path}{name}"] = value
    return flat
