"""Writers: rows once each whatever is resumed, nothing that leaves the machine, failures told."""

import csv
import os
import sys
from types import SimpleNamespace

import pytest

from smt_nas.errors import StoreError, TrainingError
from smt_nas.runtime.progress import EpochMetrics
from smt_nas.train.recipe import Recipe
from smt_nas.train.train_config import TrainConfig
from smt_nas.train.training_directory import create_directory
from smt_nas.train.writers import CsvWriter, open_writers
from tests.fakes.weights import TINY

COLUMNS = ["epoch", "update", "lr", "train_loss", "val_loss", "val_top1", "val_top5", "val_n"]
COLUMNS += ["images_per_s", "waiting_share", "seconds", "skipped", "unreadable", "peak_memory_mb"]


def metrics(epoch, **more):
    return EpochMetrics(**{"epoch": epoch, "val_top1": epoch / 10} | more)


def rows_of(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_metrics_csv_is_whole_after_each_epoch(tmp_path):
    writer = CsvWriter(tmp_path / "metrics.csv")
    assert not list(tmp_path.iterdir())
    writer.write(metrics(1, train_loss=1 / 3))
    writer.write(metrics(2, skipped=5))
    first, second = rows_of(tmp_path / "metrics.csv")
    assert list(first) == COLUMNS
    assert float(first["train_loss"]) == 1 / 3  # every digit
    assert first["val_top5"] == "" and second["train_loss"] == "" and second["skipped"] == "5"
    assert [p.name for p in tmp_path.iterdir()] == ["metrics.csv"]


def test_a_resumed_metrics_csv_holds_what_the_checkpoint_holds(tmp_path):
    (first,) = open_writers((), tmp_path, [])
    for epoch in (1, 2, 3):
        first.write(metrics(epoch))
    history = [metrics(1), metrics(2)]  # killed before the third was saved
    (second,) = open_writers((), tmp_path, history)
    assert [r["epoch"] for r in rows_of(tmp_path / "metrics.csv")] == ["1", "2"]
    history.append(metrics(3))  # as the loop does before it tells the writers
    second.write(metrics(3))
    assert [r["epoch"] for r in rows_of(tmp_path / "metrics.csv")] == ["1", "2", "3"]


def test_a_csv_that_cannot_be_written_keeps_the_old_one(tmp_path, monkeypatch):
    writer = CsvWriter(tmp_path / "metrics.csv", [metrics(1)])
    before = (tmp_path / "metrics.csv").read_text()

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left"):
        writer.write(metrics(2))
    assert (tmp_path / "metrics.csv").read_text() == before


def points(run, tag="val_top1"):
    """As TensorBoard reads them, in the order it shows."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(run / "tensorboard"))
    found.Reload()
    assert "val_top5" not in found.Tags()["scalars"]  # None is no point
    return [(p.step, pytest.approx(p.value)) for p in found.Scalars(tag)]


@pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorboard")
def test_tensorboard_shows_each_epoch_once(tmp_path):
    _, first = open_writers(("tensorboard",), tmp_path, [])
    for epoch in (1, 2, 3):
        first.write(metrics(epoch))
    first.close()
    _, second = open_writers(("tensorboard", "tensorboard"), tmp_path, [metrics(1), metrics(2)])
    for epoch in (3, 4):
        second.write(metrics(epoch, val_top1=epoch / 100))
    second.close()
    assert points(tmp_path) == [(1, 0.1), (2, 0.2), (3, 0.03), (4, 0.04)]


@pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorboard")
def test_tensorboard_that_joins_later_shows_the_epochs_before(tmp_path):
    _, writer = open_writers(("tensorboard",), tmp_path, [metrics(1), metrics(2)])
    writer.write(metrics(3))
    writer.close()
    assert points(tmp_path) == [(1, 0.1), (2, 0.2), (3, 0.3)]


class FakeMlflow:
    """The calls of mlflow.MlflowClient that are used; one store for all clients."""

    def __init__(self):
        self.uris, self.made, self.metrics, self.params, self.ended = [], [], [], {}, []

    def MlflowClient(self, tracking_uri):
        self.uris.append(tracking_uri)
        return self

    def get_experiment_by_name(self, name):
        return None

    def create_experiment(self, name, artifact_location):
        self.made.append((name, artifact_location))
        return "7"

    def create_run(self, experiment, run_name):
        assert experiment == "7"
        return SimpleNamespace(info=SimpleNamespace(run_id="abc"))

    def log_param(self, run_id, key, value):
        self.params[key] = value

    def log_metric(self, run_id, name, value, timestamp, step):
        assert run_id == "abc" and timestamp > 1e12 and value is not None
        self.metrics.append((name, step, value))

    def get_metric_history(self, run_id, name):
        return [SimpleNamespace(step=s) for n, s, _ in self.metrics if n == name]

    def set_terminated(self, run_id):
        self.ended.append(run_id)


@pytest.fixture
def mlflow(monkeypatch):
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "before")
    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY")  # put back to what it was, after the test
    fake = FakeMlflow()
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    return fake


def test_mlflow_writes_into_the_run_and_each_epoch_once(tmp_path, mlflow):
    description = "x" * 999
    config = TrainConfig(
        name="tiny",
        arch=TINY,
        data="digits",
        recipe_name="mine",
        recipe=Recipe(epochs=3, description=description),
    )
    create_directory(tmp_path, config, "cpu")
    _, first = open_writers(("mlflow",), tmp_path, [])
    for epoch in (1, 2, 3):
        first.write(metrics(epoch))
    _, second = open_writers(("mlflow",), tmp_path, [metrics(1), metrics(2)])
    second.write(metrics(3))
    second.write(metrics(4))
    second.close()
    assert [s for name, s, _ in mlflow.metrics if name == "val_top1"] == [1, 2, 3, 4]
    assert not [m for m in mlflow.metrics if m[0] == "val_top5"]
    assert set(mlflow.uris) == {f"sqlite:///{tmp_path}/mlflow.db"}
    assert mlflow.made == [("smt-nas", (tmp_path / "mlruns").as_uri())]  # once
    assert mlflow.params["recipe.optimizer.lr"] == "0.001" and mlflow.params["data"] == "digits"
    assert mlflow.params["recipe.description"] == "x" * 500
    assert not [name for name in mlflow.params if "stages" in name]
    assert mlflow.ended == ["abc"]
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_mlflow_goes_where_the_user_says(tmp_path, mlflow, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://here:5000")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    open_writers(("mlflow",), tmp_path, [])
    assert mlflow.uris == ["http://here:5000"] and mlflow.made == [("mine", None)]


class FakeWandb:
    """The calls of wandb that are used."""

    def __init__(self):
        self.asked, self.logged, self.ended, self.gone = [], [], 0, False

    def Settings(self, **values):
        return values

    def init(self, **asked):
        self.asked.append(asked)
        return SimpleNamespace(id=asked["id"] or "made1", log=self.log, finish=self.finish)

    def log(self, values, step):
        if self.gone:
            raise ConnectionError("gone")
        self.logged.append((step, values))

    def finish(self):
        self.ended += 1


@pytest.fixture
def wandb(monkeypatch):
    for name in ("WANDB_MODE", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "before")
    monkeypatch.delenv("WANDB_ERROR_REPORTING")
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    return fake


def test_wandb_is_offline_and_goes_on_with_its_run(tmp_path, wandb):
    _, first = open_writers(("wandb",), tmp_path, [metrics(1)])
    first.write(metrics(2))
    first.close()
    _, second = open_writers(("wandb",), tmp_path, [metrics(1), metrics(2)])
    second.write(metrics(3))
    assert wandb.logged == [(e, {"epoch": e, "val_top1": e / 10}) for e in (1, 2, 3)]
    assert [a["id"] for a in wandb.asked] == [None, "made1"]
    assert {a["mode"] for a in wandb.asked} == {"offline"}
    assert wandb.asked[0]["dir"] == str(tmp_path) and wandb.asked[0]["resume"] == "allow"
    assert wandb.asked[0]["settings"] == {"silent": True, "console": "off"}
    assert wandb.ended == 1 and os.environ["WANDB_ERROR_REPORTING"] == "false"


def test_wandb_is_as_online_as_the_user_says(tmp_path, wandb, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "online")
    open_writers(("wandb",), tmp_path, [])
    assert wandb.asked[0]["mode"] is None  # it reads the variable itself


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [
        ("tensorboard", "torch.utils.tensorboard", "train"),
        ("mlflow", "mlflow", "mlflow"),
        ("wandb", "wandb", "wandb"),
    ],
)
def test_what_is_not_installed_is_told_with_the_way_out(
    tmp_path, monkeypatch, mlflow, wandb, name, module, extra
):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(TrainingError, match=rf"--log {name}: .*smt-nas\[{extra}\]") as caught:
        open_writers((name,), tmp_path, [])
    assert "\n" not in str(caught.value)


def test_a_writer_that_does_not_open_ends_the_start(tmp_path, wandb, monkeypatch):
    def refuse(**asked):
        raise RuntimeError("no\nserver")

    monkeypatch.setattr(wandb, "init", refuse)
    with pytest.raises(TrainingError, match=r"--log wandb: cannot be opened \(got .*no server"):
        open_writers(("wandb",), tmp_path, [])


def test_a_writer_that_fails_later_is_left_out_and_told_of_once(tmp_path, wandb):
    said = []
    plain, writer = open_writers(("wandb",), tmp_path, [], said.append)
    for epoch in (1, 2, 3):
        wandb.gone = epoch == 2
        plain.write(metrics(epoch))
        writer.write(metrics(epoch))
    writer.close()
    assert [step for step, _ in wandb.logged] == [1] and wandb.ended == 0
    (line,) = said
    assert "--log wandb: failed (ConnectionError: gone)" in line
    assert len(rows_of(tmp_path / "metrics.csv")) == 3
