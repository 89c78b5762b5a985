"""Run directories that 0.1 wrote: read as they were, gone on with to what 0.1 came to."""

import json
import shutil

import pytest

from tests.v0_1 import observe
from tests.v0_1.kept import FIXTURES, assert_as, copied, read

RUNS = sorted(p.name for p in (FIXTURES / "runs").iterdir())
LATER = {"random": 24, "nsga2": 36, "killed": 38, "function": 16, "predictor": 16, "short_train": 8}
MACHINE = read("train", "expected.json")["machine"]


@pytest.fixture
def run(request, tmp_path, monkeypatch):
    """A run directory in a working directory that has what its search named."""
    shutil.copytree(FIXTURES / "inputs", tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return copied(f"runs/{request.param}/run", tmp_path / "run")


def front():
    return json.loads(observe.invoke("front", "run", "--json"))


@pytest.mark.parametrize("run", [r for r in RUNS if r != "killed"], indirect=True)
def test_a_front_is_read_as_it_was(run, request):
    name = request.node.callspec.params["run"]
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file() and p.name[0] != "."}
    assert_as(front(), read("runs", name, "front.json"))
    small = name in ("random", "nsga2", "proved")  # what 0.1 called a top-1 there is none
    assert small <= ("top-1 %" not in observe.invoke("front", "run"))
    assert {p: p.read_bytes() for p in before} == before


@pytest.mark.slow
@pytest.mark.parametrize("run", list(LATER), indirect=True)
def test_a_search_goes_on_to_what_it_would_have_been(run, request):
    name = request.node.callspec.params["run"]
    if name == "killed":
        assert front()["trials"] == 35 and not front()["finished"]
        assert not (run / "front.csv").exists()
    expected = read("runs", name, "later.json")
    words = ["--n", LATER[name]] if name != "killed" else []
    observe.invoke("resume", "run", *words, "--workers", "1")
    if name != "killed":  # since, run.yaml holds how many are wanted now
        expected["settings"]["n"] = LATER[name]
    found = front()
    if name == "short_train" and observe.machine() != MACHINE:
        assert (found["trials"], found["finished"]) == (expected["trials"], True)
        return  # another processor trains to other bits
    assert_as(found, expected)
    keys = [row["key"] for row in expected["front"]]
    files = [run / "front" / f"{i}.yaml" for i in range(len(keys))]
    assert [observe.smt_nas.load_arch(file).key for file in files] == keys


@pytest.mark.parametrize("run", ["proved"], indirect=True)
def test_proofs_are_read(run):
    rows = front()["front"]
    assert rows and all({"torch", "fvcore", "thop"} <= set(r["witnesses"]) for r in rows)
    assert all(r["measured"]["latency_ms"]["value"] > 0 for r in rows)
    assert "latency_ms_measured" in (run / "front.csv").read_text().splitlines()[0]


@pytest.mark.parametrize("run", ["short_train"], indirect=True)
def test_a_candidate_s_weights_are_read(run):
    (best,) = (run / "trainings").rglob("best.safetensors")
    found = json.loads(observe.invoke("eval", best.parent, "--device", "cpu", "--json"))
    assert found["weights"]["key"] == best.parent.name
