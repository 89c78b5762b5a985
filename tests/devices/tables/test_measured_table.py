"""Measured tables on disk: what was written is read; what is damaged is one line."""

import json

import numpy as np
import pytest

from smt_nas.conditions import Conditions
from smt_nas.costs.parts import PartIndex
from smt_nas.devices.device import Device
from smt_nas.devices.registry import tables_of
from smt_nas.devices.roofline import load_efficiency
from smt_nas.devices.tables.measured_table import (
    COLUMNS,
    ORIGINS,
    Calibration,
    Evidence,
    Load,
    MeasuredTable,
    NetworkTime,
    PartTimes,
    find_device_table,
    find_table,
    load_table,
    table_path,
    write_table,
)
from smt_nas.errors import ConfigError, StoreError
from smt_nas.files import folders
from smt_nas.space import SearchSpace
from smt_nas.space.editions import FIRST_SMT, find_edition
from tests.fakes.part_timer import SHEET, SMALL

EAGER, GRAPH = Conditions(batch=8), Conditions(batch=8, mode="graph")
INDEX = PartIndex.of(SMALL)
P = len(INDEX.parts)
GENES = SMALL.sample(np.random.default_rng(0), 30)


def calibration(conditions):
    one = NetworkTime(key="abc", macs=5, measured_ms=2.0, predicted_ms=2.1, samples=3)
    return Calibration(
        conditions=conditions,
        reference_ms=1.5,
        swing=0.02,
        parts_measured=P - 1,
        parts_fitted=1,
        fit_error=0.07,
        factor=1.02,
        fixed_ms=0.1,
        low=-0.03,
        high=0.03,
        fitted_on=(one,),
        held_out=(one,),
        mape=0.05,
        within_10=1.0,
        spearman=None,
    )


def table(space=SMALL):
    rng, measured = np.random.default_rng(1), np.arange(P) > 0
    times = tuple(
        PartTimes(rng.random(P), host, measured, np.where(measured, 0, 0.2), np.arange(P))
        for host in (rng.random(P), None)
    )
    evidence = Evidence(
        schema=1,
        device=SHEET.key,
        device_name=SHEET.name,
        space=space.name,
        space_digest=space.digest,
        date="2026-01-01T00:00:00+00:00",
        seconds=12.5,
        complete=True,
        seed=0,
        versions={"torch": "2"},
        load=Load(foreign_median=0.1, foreign_max=0.5, steal_max=None, windows=9, interrupted=0.0),
        calibrations=(calibration(EAGER), calibration(GRAPH)),
    )
    return MeasuredTable(INDEX, evidence, times)


@pytest.fixture
def path(tmp_path):
    path = table_path(tmp_path, SHEET.key, SMALL)
    write_table(path, table())
    return path


def test_what_was_written_is_read(path):
    assert path.name == "fake_cpu.small.csv"
    found, written = load_table(path, SMALL), table()
    assert found.evidence.calibrations == written.evidence.calibrations
    for a, b in zip(found.times, written.times, strict=True):
        assert a.ms == pytest.approx(b.ms, rel=1e-5) and a.spread.tolist() == b.spread.tolist()
        assert a.measured.tolist() == b.measured.tolist()
        assert a.samples.tolist() == b.samples.tolist()
        assert (a.host_ms is None) == (b.host_ms is None)
    for conditions in (EAGER, GRAPH):
        a, b = (t.block_table(conditions).predict(GENES) for t in (found, written))
        assert a.ms == pytest.approx(b.ms, rel=1e-5) and a.basis == "table"


def test_only_the_conditions_that_were_measured(path):
    found = load_table(path, SMALL)
    assert found.block_table(Conditions(batch=1)) is None
    assert found.block_table(Conditions(batch=8, threads=1)) is None
    assert found.block_table(EAGER.model_copy(update={"image_size": 64})) is not None  # its own
    assert found.block_table(EAGER.model_copy(update={"image_size": 96})) is None


def line(path, number, change):
    lines = path.read_text().splitlines()
    lines[number] = change(lines[number])
    path.write_text("\n".join(lines) + "\n")


def cell(number, value):
    def change(text):
        cells = text.split(",")
        cells[number] = value
        return ",".join(cells)

    return change


@pytest.mark.parametrize(
    ("number", "change", "told"),
    [
        (0, lambda _: "batch,part,ms", "first line must be batch,precision"),
        (3, cell(5, "nan"), "ms of .* must be a number .*'nan'"),
        (3, cell(5, "0"), "ms of .* must be a number"),
        (3, cell(5, "inf"), "ms of .* must be a number"),
        (3, cell(5, ""), "ms of .* must be a number"),
        (3, cell(8, "-1"), "spread of .* must be a number"),
        (3, cell(7, "guessed"), "origin must be one of measured, fitted"),
        (3, cell(4, "sam 1x1 c1"), "must hold each part"),
        (3, cell(0, "9"), "must hold each part"),
        (3, lambda text: text + ",1", "must hold 10 cells"),
        (3, lambda text: text[:9], "must hold 10 cells"),
        (3, cell(5, "0.123456"), "as its evidence was taken on it"),
    ],
)
def test_a_damaged_table_is_told_in_one_line(path, number, change, told):
    line(path, number, change)
    with pytest.raises(ConfigError, match=told) as caught:
        load_table(path, SMALL)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert str(caught.value).endswith("Run `smt-nas calibrate` again.")


def test_a_part_that_stands_twice(path):
    path.write_text(path.read_text() + path.read_text().splitlines()[-1] + "\n")
    with pytest.raises(ConfigError, match="stands twice"):
        load_table(path, SMALL)


@pytest.mark.parametrize("text", ["", "{", '{"schema": 1}', "[]", '{"schema": 2}'])
def test_damaged_evidence_is_told_in_one_line(path, text):
    path.with_suffix(".json").write_text(text)
    with pytest.raises(ConfigError, match=r"small\.json") as caught:
        load_table(path, SMALL)
    assert "\n" not in str(caught.value)


def test_missing_evidence_and_another_space(path):
    other = SearchSpace(SMALL.config.model_copy(update={"num_classes": 7}), "small")
    with pytest.raises(ConfigError, match="must be of space small as it is now"):
        load_table(path, other)
    path.with_suffix(".json").unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        load_table(path, SMALL)


def test_windows_line_ends_are_no_damage(path):
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert load_table(path, SMALL).evidence.complete


def test_the_table_of_the_working_directory_predicts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    device = Device(SHEET, load_efficiency("cpu"))
    assert find_table(SHEET.key, SMALL) is None
    (tmp_path / "profiles").mkdir()
    write_table(table_path(tmp_path / "profiles", SHEET.key, SMALL), table())
    found = device.predict(SMALL, GENES, EAGER)
    assert found.basis == "table"
    assert found.ms == pytest.approx(table().block_table(EAGER).predict(GENES).ms, rel=1e-5)
    assert device.predict(SMALL, GENES, Conditions(batch=2)).basis == "sheet"
    other = SearchSpace(SMALL.config.model_copy(update={"num_classes": 7}), "small")
    assert find_table(SHEET.key, other) is None  # of the same name, and not the same


@pytest.mark.parametrize(
    ("cells", "before"),
    [
        (
            {"reported": ("AMD Ryzen 9 9950X 16-Core Processor",), "threads": 32},
            "amd-ryzen-9-9950x-16-core-processor-32cp",
        ),
        ({"reported": ("NVIDIA GeForce RTX 4070",), "kind": "gpu"}, "nvidia-geforce-rtx-4070"),
    ],
)
def test_a_table_taken_before_the_device_had_a_sheet_is_its_own(
    tmp_path, monkeypatch, cells, before
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "profiles").mkdir()
    write_table(table_path(tmp_path / "profiles", before, SMALL), table())
    sheet = SHEET.model_copy(update=cells)
    assert find_device_table(SHEET, SMALL) is None
    assert find_device_table(sheet, SMALL).evidence.complete
    assert tables_of(SHEET) == [] and tables_of(sheet) == ["small"]


def test_a_folder_that_is_not_there_cannot_be_written(tmp_path):
    with pytest.raises(StoreError, match="cannot be written"):
        write_table(table_path(tmp_path / "none", SHEET.key, SMALL), table())


def test_evidence_is_json_for_everybody(path):
    found = json.loads(path.with_suffix(".json").read_text())
    assert found["schema"] == 1 and found["calibrations"][0]["held_out"][0]["measured_ms"] == 2.0


def test_the_interval_is_also_of_other_days():
    found = table().block_table(EAGER)  # the calibration's own hours gave 0.03, on a GPU
    assert (found.low, found.high) == pytest.approx((-0.05, 0.05))  # with 0.04 between days


def test_a_frame_holds_what_the_csv_holds(path):
    frame = load_table(path, SMALL).frame()
    assert tuple(frame.columns) == COLUMNS and len(frame) == 2 * P
    lines = path.read_text().splitlines()
    assert lines[0] == ",".join(COLUMNS) and len(lines) == len(frame) + 1
    graph = frame[frame["mode"] == "graph"]
    assert graph["threads"].isna().all() and set(frame["origin"]) <= set(ORIGINS)


@pytest.mark.parametrize(
    "space",
    [find_edition("smt", FIRST_SMT), SearchSpace.load("smt_micro")],
    ids=lambda space: space.name,
)
def test_the_shipped_tables_are_written_as_they_lie_there(tmp_path, space):
    shipped = folders("profiles")[1]
    path = table_path(shipped, "epyc_zen3_2cpu", space)
    write_table(tmp_path / path.name, load_table(path, space))
    for suffix in (".csv", ".json"):
        copy = (tmp_path / path.name).with_suffix(suffix)
        assert copy.read_bytes() == path.with_suffix(suffix).read_bytes()
