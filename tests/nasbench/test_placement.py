"""Where a bench is trained: several trainings a process on a GPU, with the rows of any build."""

import csv
from contextlib import contextmanager

import pytest
import torch

from smt_nas.errors import ConfigError
from smt_nas.nasbench import build, placement
from smt_nas.nasbench.build import BuildRequest, build_bench
from smt_nas.nasbench.placement import Placement, choose_placement
from smt_nas.nasbench.rows import BenchRow
from smt_nas.runtime.progress import NullProgress
from smt_nas.train.processes.process_group import ProcessGroup
from smt_nas.train.train_config import RunOptions
from smt_nas.train.train_job import MemoryReason
from tests.fakes.recipes import quick


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "quick.yaml"
    path.write_text(quick(more="split_seed: 0\nvalidation: 0.1"))
    return str(path)


def wanted(recipe, n):
    return BuildRequest("smt_micro", "digits", recipe, n, 5e6, 7e6)


@pytest.fixture
def on_gpu(monkeypatch):
    """A GPU with so much free memory, which nothing is computed on."""

    def set_free(number):
        @contextmanager
        def join(device):
            yield ProcessGroup(0, 1, torch.device("cuda", 0))

        monkeypatch.setattr(placement, "join_process_group", join)
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (number, number))

    return set_free


@pytest.mark.parametrize(("free", "at_once"), [(80e9, 8), (17e9, 4), (1e9, 1)])
def test_a_gpu_gets_as_many_trainings_as_its_memory_holds(on_gpu, free, at_once):
    on_gpu(free)
    chosen = choose_placement("cuda", None, None)
    assert (chosen.processes, chosen.per_process) == (2, at_once)
    assert chosen.options.fast and chosen.options.device == "cuda"
    assert choose_placement("cuda", 3, 5).per_process == 5


def test_a_cpu_trains_one_network_a_process(monkeypatch):
    chosen = choose_placement("cpu", 2, None)
    assert (chosen.processes, chosen.per_process) == (2, 1)
    assert chosen.options == RunOptions(device="cpu", fast=True)
    with pytest.raises(ConfigError, match="--per-process: must be 1 on a CPU"):
        choose_placement("cpu", None, 2)


def rows(table):
    with table.open(newline="") as file:
        found = [
            {k: v for k, v in row.items() if k not in ("seconds", "versions")}
            for row in csv.DictReader(file)
        ]
    return sorted(found, key=lambda row: (row["key"], row["seed"]))


def test_trainings_that_share_a_process_give_the_rows_of_a_build_one_by_one(
    recipe, tmp_path, monkeypatch
):
    one_by_one = build_bench(wanted(recipe, 1), tmp_path / "a", "cpu", 1, NullProgress())
    shared = Placement(1, 3, RunOptions(device="cpu", fast=True), "cpu")
    monkeypatch.setattr(build, "choose_placement", lambda *_: shared)
    together = build_bench(wanted(recipe, 1), tmp_path / "b", None, None, NullProgress())
    assert (together.trainings, together.failed) == (3, {})
    assert rows(together.table) == rows(one_by_one.table)
    assert not [p for p in (tmp_path / "b" / "trainings").iterdir() if p.name != ".lock"]


def made_up_rows(task):
    figures = {"val_top1": 0.5, "val_loss": 1.0, "seconds": 1.0}
    return [
        BenchRow(job.arch, task.group, job.request.seed, figures, "a GPU", "smt-nas 0")
        for job in task.jobs
    ]


class Tries:
    """Stands for the training of tasks; the first try of seed 1 finds no memory, or every try."""

    def __init__(self, always):
        self.always, self.placements = always, []

    def __call__(self, tasks, placed):
        if tasks:
            self.placements.append((placed.processes, placed.per_process, len(tasks)))
        for task in tasks:
            full = task.job.request.seed == 1 and (self.always or placed.per_process > 1)
            yield task, [MemoryReason("cuda:0: full")] if full else made_up_rows(task)


class Lines(NullProgress):
    def __init__(self):
        self.lines = []

    def say(self, text):
        self.lines.append(text)


@pytest.mark.parametrize("always", [False, True])
def test_what_finds_the_gpu_full_is_trained_alone_at_the_end(recipe, tmp_path, monkeypatch, always):
    shared, tries, listener = (
        Placement(2, 4, RunOptions(device="cpu"), "cpu"),
        Tries(always),
        Lines(),
    )
    monkeypatch.setattr(build, "choose_placement", lambda *_: shared)
    monkeypatch.setattr(build, "_train", tries)
    built = build_bench(wanted(recipe, 1), tmp_path, None, None, listener)
    assert tries.placements == [(2, 4, 3), (1, 1, 1)]
    assert any("the memory of the GPU was full" in line for line in listener.lines)
    assert (built.trainings, list(built.failed.values())) == (
        (2, ["cuda:0: full"]) if always else (3, [])
    )
