"""A calibration's goals, what was seen of them, and what a reader must know."""

from pathlib import Path

import pytest

from smt_nas.conditions import Conditions
from smt_nas.devices.tables.measured_table import Calibration, Evidence, Load
from smt_nas.report.profile.calibrate import (
    calibration_document,
    calibration_notes,
    calibration_table,
)
from tests.fakes.terminal import cells


def evidence(load=None, complete=True, **more):
    values = {
        "conditions": Conditions(threads=1),
        "reference_ms": 1.0,
        "swing": 0.02,
        "parts_measured": 40,
        "parts_fitted": 0,
        "fit_error": None,
        "factor": 1.03,
        "fixed_ms": 0.1,
        "low": -0.05,
        "high": 0.05,
        "fitted_on": (),
        "held_out": (),
        "mape": 0.03,
        "within_10": 0.95,
        "spearman": 0.99,
    }
    quiet = {"foreign_median": 0.01, "foreign_max": 0.02, "steal_max": 0.0, "windows": 5}
    return Evidence(
        schema=1,
        device="fake_cpu",
        device_name="Fake CPU",
        space="small",
        space_digest="0" * 12,
        date="2026-01-01T00:00:00+00:00",
        seconds=600.0,
        complete=complete,
        seed=0,
        versions={"torch": "2.13.0"},
        load=Load(**(quiet | {"interrupted": 0.0} | (load or {}))),
        calibrations=(Calibration(**(values | more)),),
    )


@pytest.mark.parametrize(
    ("seen", "word"),
    [
        ({}, "met"),
        ({"mape": 0.08}, "not met"),
        ({"mape": None, "within_10": None, "spearman": None}, "not checked"),
    ],
)
def test_goals_are_met_or_not_or_were_not_checked(seen, word):
    words = [row[-1] for row in cells(calibration_table(evidence(**seen)))]
    assert " ".join(filter(None, words)) == word
    goals = calibration_document(evidence(**seen), Path("x.csv"))["goals"][0]
    wanted = {"met": True, "not met": False, "not checked": None}[word]
    assert goals["conditions"] == "b1 fp32 eager 1 thread" and goals["mape"] is wanted


def test_notes_say_where_it_is_and_what_was_fitted():
    path = Path("profiles/fake_cpu.small.csv")
    lines = calibration_notes(evidence(fit_error=0.07, parts_fitted=3, complete=False), path)
    assert lines[0] == "10.0 minutes of measuring; time was up before all was measured."
    assert any("7.0% off" in line for line in lines)
    assert lines[-1].startswith(f"Written: {path} and fake_cpu.small.json.")


def test_a_busy_machine_is_told():
    busy = evidence(load={"foreign_median": 0.2, "interrupted": 0.3})
    text = " ".join(calibration_notes(busy, Path("x.csv")))
    assert "Others used 20%" in text and "30% of the samples were interrupted" in text
    dark = evidence(load={"foreign_median": None, "foreign_max": None, "steal_max": None})
    assert "is not known" in " ".join(calibration_notes(dark, Path("x.csv")))


def test_the_document_is_the_evidence_with_its_path():
    document = calibration_document(evidence(), Path("x.csv"))
    assert (document["schema"], document["path"]) == (1, "x.csv")
    assert document["calibrations"][0]["factor"] == 1.03
