"""`devices`, `devices show` and `doctor`: documents, tables of 80 columns, errors."""

import json
import subprocess
import sys

import pytest

from smt_nas.devices import doctor
from smt_nas.devices.doctor import Check
from smt_nas.devices.registry import all_sheets, load_sheet
from smt_nas.report.devices import (
    devices_table,
    doctor_table,
    examine,
    find_device,
    list_devices,
    sheet_table,
)
from tests.fakes.terminal import invoke, printed

NAMES = [s.key for s in all_sheets()]


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(doctor, "_WATCH_S", 0.01)


def test_the_list():
    found = json.loads(invoke("devices", "--json").stdout)
    assert found["schema"] == 1
    by_key = {d["key"]: d for d in found["devices"]}
    assert set(NAMES) <= set(by_key)
    assert by_key["a100_80_sxm"]["peak_tflops"]["fp16"] == 312
    assert any(d["here"] == "cpu" for d in found["devices"])
    lines = invoke("devices").stdout.splitlines()
    assert len(lines) == 3 + len(found["devices"]) + 2
    assert lines[-2].startswith("Spaces measured on a device: ") and "smt_micro" in lines[-2]


def test_the_list_fits_80_columns():
    text = printed(devices_table(list_devices()))
    assert len(text.splitlines()) == 3 + len(list_devices())  # no name takes two lines
    assert all(load_sheet(name).short in text for name in NAMES)


def test_tables_that_were_measured_are_listed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles/t4.space-of-mine.csv").write_text("")
    assert {d.sheet.key: d.tables for d in list_devices()}["t4"] == ("space-of-mine",)
    assert "Measured for space-of-mine." in invoke("devices", "show", "t4").stdout


@pytest.mark.parametrize("name", NAMES)
def test_a_sheet_fits_80_columns(name):
    text = printed(sheet_table(find_device(name)))
    assert "peak FP32 TFLOPS" in text


@pytest.mark.parametrize("name", ["a100", "A100_80_SXM", "epyc"])
def test_a_sheet_is_shown_with_its_sources(name):
    text = invoke("devices", "show", name).stdout
    found = json.loads(invoke("devices", "show", name, "--json").stdout)
    sheet = load_sheet(name)
    assert found["key"] == sheet.key
    for field, value in sheet.cells():
        assert found["figures"][field]["value"] == value
        assert found["figures"][field]["source"] in text
    assert all(warning in text for warning in sheet.warnings)


def test_ones_own_sheet_is_shown(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("kind: gpu\nname: x\n")
    result = invoke("devices", "show", str(path), code=1)
    assert "mine.yaml: architecture is missing" in result.stderr


def test_an_unknown_device():
    result = invoke("devices", "show", "a1000", code=1)
    assert "must be one that is known" in result.stderr and "(got 'a1000')" in result.stderr
    assert "Did you mean a100_80_sxm" in result.stderr
    assert result.stdout == ""


def test_the_doctor():
    found = json.loads(invoke("doctor", "--json").stdout)
    assert found["schema"] == 1
    states = {c["subject"]: c["state"] for c in found["checks"]}
    assert {"CPU", "CPU load", "torch", "cpu precisions", "disk"} <= set(states)
    assert set(states.values()) <= {"ok", "missing", "unknown"}
    assert "CPU load" in invoke("doctor").stdout


def test_the_doctor_fits_80_columns():
    text = printed(doctor_table(examine()))
    assert "CPU load" in text
    line = Check("a [subject]", "missing", "what [was] found " * 9, "a way out " * 9)
    assert "a way out" in printed(doctor_table([line]))


@pytest.mark.parametrize("words", [["devices"], ["devices", "show", "a100"], ["doctor", "--help"]])
def test_torch_is_not_loaded(words):
    code = (
        "import sys; from smt_nas.cli.app import app; import smt_nas.cli\n"
        f"app({words!r}, standalone_mode=False)\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
