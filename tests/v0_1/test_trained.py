"""Trainings and benches that 0.1 began go on, to the same bits where the processor is the same."""

import csv
import json
import shutil

import pytest
import torch

from tests.v0_1 import observe
from tests.v0_1.kept import FIXTURES, assert_as, copied, read

EXPECTED = read("train", "expected.json")
TRAIN = ["train", "tiny.yaml", "--data", "digits", "--recipe", "small", "--epochs", "2"]
TRAIN += ["--set", "images=400", "--set", "batch_size=50", "--set", "ema.decay=0.9"]
HOW = ["--device", "cpu", "--workers", "0", "--keep", "1", "--save-updates", "3"]
BENCH = ["bench", "build", "--data", "digits", "--space", "smt_micro", "--n", "3"]
BENCH += ["--recipe", "quick.yaml", "--macs", "2..8MMACs", "--workers", "1", "--device", "cpu"]
TIMES = ("seconds", "device", "versions")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory that has what commands name, and one thread."""
    shutil.copytree(FIXTURES / "inputs", tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield tmp_path
    torch.set_num_threads(threads)


def same_machine():
    return observe.machine() == EXPECTED["machine"]


def assert_trained(found, expected):
    """The same bits; on another processor about the same sums, but for biases before a batch norm.

    Their gradients are zero but for rounding, and so are they.
    """
    if same_machine():
        assert found["sha256"] == expected["sha256"]
        assert_as(found["sums"], expected["sums"])
    else:
        assert_as(found["sums"], expected["sums"], rel=0.2, abs_tol=2e-5)


@pytest.mark.parametrize("words", [["train"], TRAIN])
def test_a_killed_training_goes_on_to_the_same_weights(here, words):
    run = copied("train/cut", here / "cut")
    observe.invoke(*words, *HOW, "--out", "cut", "--resume", "auto")
    (last,) = (run / "checkpoints").iterdir()
    assert last.name == "update-0000014"
    assert_trained(observe.weights(last / "model.safetensors"), EXPECTED["last"])
    assert_trained(observe.weights(last), EXPECTED["evaluated"])
    assert_trained(observe.weights(run), EXPECTED["best"])


def test_the_same_seed_trains_the_same_weights(here):
    """Without what makes trainings fast since: images in memory are cropped by other draws."""
    observe.invoke(*TRAIN, *HOW, "--no-fast", "--out", "again")
    assert_trained(observe.weights(here / "again"), EXPECTED["best"])


def test_weights_are_read_bit_for_bit(here):
    copied("train/whole", here / "whole")
    copied("train/cut", here / "cut")
    assert observe.weights(here / "whole") == EXPECTED["best"]
    assert observe.weights(here / "cut") == EXPECTED["cut_best"]


@pytest.mark.parametrize(
    ("name", "words", "expected"),
    [("whole", [], "eval"), ("cut", ["--split", "validation"], "eval_cut")],
)
def test_weights_are_judged_as_they_were(here, name, words, expected):
    copied(f"train/{name}", here / name)
    found = json.loads(observe.invoke("eval", name, *words, "--device", "cpu", "--json"))
    assert_as(found, EXPECTED[expected], rel=1e-5)


def rows(folder):
    with (folder / "bench.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_bench_is_read_as_it_was(here):
    copied("bench/whole", here / "whole")
    found = json.loads(observe.invoke("bench", "show", "whole/", "--json"))
    assert_as(found, read("bench", "show.json"))


def test_a_whole_bench_is_left_alone(here):
    folder = copied("bench/whole", here / "whole")
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    observe.invoke(*BENCH, "--out", "whole")
    assert {name: (folder / name).read_bytes() for name in before} == before


def test_a_killed_bench_goes_on(here):
    whole, cut = rows(copied("bench/whole", here / "whole")), copied("bench/cut", here / "cut")
    before = (cut / "bench.csv").read_text()
    assert len(rows(cut)) == 3
    observe.invoke(*BENCH, "--out", "cut")
    assert (cut / "bench.csv").read_text().startswith(before)
    identity = [[(r["key"], r["group"], r["seed"]) for r in x] for x in (rows(cut), whole)]
    assert identity[0] == identity[1]
    if same_machine():
        figures = [
            [{k: v for k, v in r.items() if k not in TIMES} for r in x] for x in (rows(cut), whole)
        ]
        assert figures[0] == figures[1]
