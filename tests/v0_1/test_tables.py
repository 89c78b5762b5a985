"""Tables, journals of calibrations and saved profiles that 0.1 wrote are used as they are."""

import json

import pytest
import torch

from tests.fakes.part_timer import SHEET, FakePartTimer
from tests.v0_1 import observe
from tests.v0_1.kept import FIXTURES, assert_as, copied, read

SMALL = observe.space_of(read("table", "small.json"), "small")
TABLE = FIXTURES / "table" / "profiles" / "fake_cpu.small.csv"
PREDICTED = read("table", "predictions.json")
same_torch = pytest.mark.skipif(
    torch.__version__ != PREDICTED["torch"],
    reason=f"a journal goes on under the same torch: {PREDICTED['torch']}",
)


def test_a_table_predicts_what_it_did():
    assert_as(observe.predict_by(TABLE, SMALL), PREDICTED["predictions"])


def test_a_table_is_found_by_its_place(tmp_path, monkeypatch):
    """In `profiles` of the working directory, beside the sheet of its device."""
    copied("table/profiles", tmp_path / "profiles")
    monkeypatch.chdir(tmp_path)
    assert_as(observe.predict_on("fake_cpu", SMALL), PREDICTED["predictions"])


def journal(name, to):
    """A work file of a calibration, hidden again."""
    copied(f"table/{name}", to)
    (file,) = to.glob("*.jsonl")
    return file.rename(to / f".{file.name}")


def lines(file):
    return [json.loads(line) for line in file.read_text().splitlines()[1:]]


@same_torch
def test_a_calibration_killed_before_its_table_needs_no_more_samples(tmp_path):
    journal("full", tmp_path)
    bench = FakePartTimer()
    path = observe.calibrate(SMALL, SHEET, bench, tmp_path)
    assert bench.chains == 0 and not bench.turns
    assert path.read_text() == TABLE.read_text()
    old, new = (json.loads(p.with_suffix(".json").read_text()) for p in (TABLE, path))
    assert_as(new["calibrations"], old["calibrations"])
    assert not list(tmp_path.glob(".*.jsonl"))


@same_torch
def test_a_killed_calibration_goes_on(tmp_path):
    file = journal("cut", tmp_path / "cut")
    done = sum("chain" in line for line in lines(file))
    all_of_it = sum("chain" in line for line in lines(journal("full", tmp_path / "full")))
    bench = FakePartTimer()
    path = observe.calibrate(SMALL, SHEET, bench, file.parent)
    assert 0 < done == all_of_it - bench.chains
    assert observe.predict_by(path, SMALL)["basis"] == "table"


def test_saved_profiles_are_compared(tmp_path, monkeypatch):
    copied("profiles", tmp_path)
    monkeypatch.chdir(tmp_path)
    found = json.loads(observe.invoke("compare", "a.json", "b.json", "--json"))
    assert_as(found, read("profiles", "compared.json"))
    for name in ("a.json", "b.json"):
        assert json.loads((tmp_path / name).read_text())["rows"]
