"""A bench that is built: real trainings, one row each, and going on after any end."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import psutil
import pytest

from smt_nas.errors import ConfigError, StoreError
from smt_nas.nasbench import build, trainings
from smt_nas.nasbench.build import BuildRequest, BuildResult, build_bench
from smt_nas.nasbench.rows import BenchRow
from smt_nas.nasbench.table import TABLE, load_bench
from smt_nas.report.bench import build_notes
from smt_nas.runtime.progress import NullProgress
from tests.fakes.recipes import quick
from tests.fakes.terminal import invoke

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "quick.yaml"
    path.write_text(quick(more="split_seed: 0\nvalidation: 0.1"))
    return str(path)


def wanted(recipe, n=2, **changes):
    return BuildRequest("smt_micro", "digits", recipe, n, 5e6, 7e6, **changes)


@pytest.fixture(scope="module")
def results():
    """Of the trainings of `built`."""
    return []


@pytest.fixture(scope="module")
def built(recipe, results, tmp_path_factory):
    """Two networks, of which the first has three seeds."""
    real = trainings.train_job
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainings, "train_job", lambda job: results.append(real(job)) or results[-1])
        out = tmp_path_factory.mktemp("bench")
        return build_bench(wanted(recipe), out, "cpu", 1, NullProgress())


@pytest.fixture
def trained_already(built, results, monkeypatch):
    """Every training ends at once, as the first of `built` ended."""
    monkeypatch.setattr(trainings, "train_job", lambda job: results[0])


def made_up_row(job, group, *_, **figures):
    figures = {"val_top1": 0.5, "val_loss": 1.0, "seconds": 1.0} | figures
    figures = {name: value for name, value in figures.items() if value is not None}
    request = job.request
    return BenchRow(job.arch, group, request.seed, figures, "a CPU", "smt-nas 0", request.epochs)


def made_up_rows(task):
    return [made_up_row(job, task.group) for job in task.jobs]


def lines(table):
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def found_out(table):
    """Rows without what differs between two builds of the same bench."""
    return [
        {k: v for k, v in row.items() if k not in ("seconds", "versions")} for row in lines(table)
    ]


def test_every_planned_training_has_its_row(built):
    assert (built.trainings, built.planned, built.failed) == (4, 4, {})
    found = load_bench(built.table)
    assert [len(rows) for rows in found.networks.values()] == [3, 1]
    assert [r.seed for r in found.rows] == [0, 0, 1, 2]  # every network once before any again
    for row in found.rows:
        assert 0 <= row.figures["val_top1"] <= 1 and 0 <= row.figures["test_top1"] <= 1
        assert row.figures["seconds"] > 0 and row.figures["val_loss"] > 0
        assert "torch" in row.versions and row.device
    assert len({row.figures["val_loss"] for row in found.rows}) == 4  # seeds differ
    assert not any(p.name != ".lock" for p in (built.table.parent / "trainings").iterdir())


def test_the_card_says_what_it_is(built):
    card = load_bench(built.table).card
    assert (card.space, card.data, card.recipe["images"]) == ("smt_micro", "digits", 200)
    assert "BSD" in card.licence


def test_a_whole_bench_is_left_alone_and_a_larger_one_goes_on(built, recipe, monkeypatch):
    before = built.table.read_text()
    again = build_bench(wanted(recipe), built.table.parent, "cpu", 1, NullProgress())
    assert again.trainings == 4 and built.table.read_text() == before
    tasks = []
    monkeypatch.setattr(build, "train_and_score", lambda task: tasks.append(task) or ["not now"])
    larger = build_bench(wanted(recipe, n=3), built.table.parent, "cpu", 1, NullProgress())
    assert larger.planned == 5 and len(tasks) == 1 and list(larger.failed.values()) == ["not now"]
    assert built.table.read_text() == before


def test_a_training_that_fails_is_told_and_tried_again(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(
        build,
        "train_and_score",
        lambda task: ["diverged"] if task.job.request.seed == 1 else made_up_rows(task),
    )
    found = build_bench(wanted(recipe, n=1), tmp_path, "cpu", 1, NullProgress())
    assert found.trainings == 2 and list(found.failed.values()) == ["diverged"]
    monkeypatch.setattr(build, "train_and_score", made_up_rows)
    found = build_bench(wanted(recipe, n=1), tmp_path, "cpu", 1, NullProgress())
    assert (found.trainings, found.failed) == (3, {})


def test_images_that_are_read_anew_every_epoch_are_told_once(tmp_path, monkeypatch):
    monkeypatch.setattr(trainings, "train_job", lambda job: "not now")
    lines = []
    listener = NullProgress()
    listener.say = lines.append
    for name, jitter in (("plain", 0.0), ("jittered", 0.2)):
        path = tmp_path / f"{name}.yaml"
        path.write_text(quick().replace("flip: 0.0", f"flip: 0.0, color_jitter: {jitter}"))
        build_bench(wanted(str(path)), tmp_path / name, "cpu", 1, listener)
    assert [line for line in lines if "not now" not in line] == [
        "Images are read anew every epoch, not held in memory: augment.color_jitter (0.2) is not "
        "done on whole batches."
    ]


def test_a_bench_that_began_without_the_fast_path_goes_on_without(recipe, tmp_path, monkeypatch):
    """Its rows are of images that were drawn otherwise."""
    jobs = []
    monkeypatch.setattr(trainings, "train_job", lambda job: jobs.append(job) or "not now")
    build_bench(wanted(recipe, n=1), tmp_path, "cpu", 1, NullProgress())
    assert [job.options.fast for job in jobs] == [True] * 3
    card = tmp_path / "bench.yaml"
    assert "fast: true" in card.read_text()
    old = card.read_text().replace("fast: true\n", "")
    card.write_text(old)
    jobs.clear()
    build_bench(wanted(recipe, n=1), tmp_path, "cpu", 1, NullProgress())
    assert [job.options.fast for job in jobs] == [False] * 3
    assert card.read_text() == old


def test_a_full_disk_is_no_failed_network(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(trainings, "train_job", lambda job: StoreError("disk: is full"))
    with pytest.raises(StoreError, match="disk: is full"):
        build_bench(wanted(recipe, n=2), tmp_path, "cpu", 1, NullProgress())
    assert lines(tmp_path / TABLE) == []


@pytest.mark.parametrize("loss", [None, float("nan")])
def test_a_training_without_a_figure_is_a_failure_and_no_row(
    recipe, trained_already, tmp_path, monkeypatch, loss
):
    """A row that could not be read again would lose the whole table."""
    monkeypatch.setattr(trainings, "_score_row", partial(made_up_row, val_loss=loss))
    found = build_bench(wanted(recipe, n=1), tmp_path, "cpu", 1, NullProgress())
    assert set(found.failed.values()) == {"its val_loss is no finite number"}
    assert lines(found.table) == []


def test_what_goes_wrong_in_scoring_is_one_failed_training(
    recipe, trained_already, tmp_path, monkeypatch
):
    monkeypatch.setattr(trainings, "_score_row", lambda *_: [].pop())
    found = build_bench(wanted(recipe, n=1), tmp_path, "cpu", 1, NullProgress())
    assert set(found.failed.values()) == {"IndexError: pop from empty list"}


def test_an_interrupted_training_gives_no_row(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(build, "train_and_score", lambda task: [None])
    found = build_bench(wanted(recipe, n=1), tmp_path, "cpu", 1, NullProgress())
    assert found.interrupted and found.trainings == 0 and lines(found.table) == []


@pytest.mark.slow
@pytest.mark.parametrize(("how", "workers"), [(signal.SIGKILL, 2), (signal.SIGINT, 1)])
def test_a_build_that_is_stopped_goes_on_to_the_same_rows(built, recipe, tmp_path, how, workers):
    """However many train: `built` is of one worker."""
    out = tmp_path / "b"
    words = ["bench", "build", "--data", "digits", "--n", "1"]
    words += ["--recipe", recipe, "--macs", "5..7MMACs", "--out", str(out)]
    command = [sys.executable, "-m", "smt_nas", *words, "--workers", str(workers)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    table = out / TABLE
    while process.poll() is None and (not table.is_file() or len(lines(table)) < 1):
        time.sleep(0.05)
    before = table.read_text()
    assert len(lines(table)) >= 1
    with suppress(psutil.NoSuchProcess):  # the machine was so busy that it is through
        left = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, how)
        process.wait()
        psutil.wait_procs(left)
    invoke(*words, "--workers", 1)
    assert table.read_text().startswith(before)
    first = lines(table)[0]["key"]
    assert found_out(table) == [row for row in found_out(built.table) if row["key"] == first]


@pytest.mark.parametrize(("networks", "figure"), [(59, "capacity"), (60, "predictor")])
def test_what_to_run_next_works_on_so_many_networks(networks, figure):
    """However many trainings they have."""
    built = BuildResult(Path("b/bench.csv"), 180, 180, networks, {})
    assert build_notes(built)[-1] == f"Next: smt-nas validate {figure} --on b"


class TestBadInput:
    def test_another_space_version_is_refused(self, built, recipe, tmp_path):
        text = (ROOT / "search_spaces" / "smt_micro.yaml").read_text()
        other = tmp_path / "smt_micro.yaml"
        other.write_text(text.replace("dim: [16, 32]", "dim: [16, 48]"))
        asked = BuildRequest(str(other), "digits", recipe, 2, 5e6, 7e6)
        with pytest.raises(StoreError, match="holds a bench with space_digest"):
            build_bench(asked, built.table.parent, "cpu", 1, NullProgress())

    def test_other_labels_are_other_data(self, built, recipe, monkeypatch):
        monkeypatch.setattr(build, "labels_digest", lambda source: "000000000000")
        with pytest.raises(StoreError, match=r"holds a bench with labels .* named by numbers"):
            build_bench(wanted(recipe), built.table.parent, "cpu", 1, NullProgress())

    def test_data_of_another_number_of_classes_is_refused(self, recipe, tmp_path):
        asked = BuildRequest("smt", "digits", recipe, 2, 5e8, 7e8)
        with pytest.raises(ConfigError, match=r"num_classes must be that of the data \(got 1000"):
            build_bench(asked, tmp_path / "b", "cpu", 1, NullProgress())
        assert not (tmp_path / "b").exists()

    @pytest.mark.parametrize("macs", ["5MMACs", "5..40Mparams", "soon"])
    def test_a_range_of_macs_is_needed(self, macs, tmp_path):
        found = invoke("bench", "build", "--data", "digits", "--macs", macs, code=1)
        assert found.stderr.count("\n") == 1

    def test_a_folder_of_something_else_is_refused(self, recipe, tmp_path):
        (tmp_path / "mine.txt").write_text("x")
        with pytest.raises(StoreError, match="must be empty or new"):
            build_bench(wanted(recipe), tmp_path, "cpu", 1, NullProgress())


def test_show_tells_what_a_bench_is(built):
    found = invoke("bench", "show", str(built.table))
    assert "2 networks of space smt_micro" in found.stdout and "BSD" in found.stdout
    document = json.loads(invoke("bench", "show", str(built.table.parent), "--json").stdout)
    assert [len(n["trainings"]) for n in document["networks"]] == [3, 1]
    assert document["card"]["space"] == "smt_micro"
