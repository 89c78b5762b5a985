"""A profile as JSON, as CSV, and read back."""

import csv
import json

import pytest

from smt_nas.arch import SMALL_PRESETS
from smt_nas.errors import ConfigError
from smt_nas.report.profile.document import as_csv, document, read
from tests.fakes.profiles import (
    ENVIRONMENT,
    breakdown,
    counts,
    failed_row,
    measured_profile,
    predicted_profile,
    predicted_row,
    row,
)

ROW_KEYS = {"network", "conditions", "figures", "predicted", "measurement", "failure", "runtime"}


def written(tmp_path, profile):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(document(profile, [counts()], [], ENVIRONMENT)))
    return path


def test_the_document_has_the_keys_that_readers_of_it_know():
    profile = measured_profile(row("a"), row("b", 4.0), failed_row("c"))
    arch = SMALL_PRESETS["smt_micro"]
    found = document(profile, [counts("a", arch)], [breakdown()], ENVIRONMENT)
    assert json.loads(json.dumps(found, allow_nan=False)).keys() == found.keys()
    assert (found["schema"], found["kind"]) == (2, "profile")
    assert [set(r) for r in found["rows"]] == [ROW_KEYS] * 3
    assert found["rows"][0]["figures"]["latency_ms"]["value"] == 2.0
    assert found["rows"][2]["failure"] and found["rows"][2]["measurement"] is None
    assert found["comparisons"][0]["word"] == "SLOWER"
    (network,) = found["networks"]
    assert network["key"] == arch.key and network["counters"]["thop"]["macs"] == 1_000_000
    assert found["breakdowns"][0]["pieces"][0]["name"] == "stages.0"


def test_what_was_measured_is_read_back(tmp_path):
    profile = measured_profile(row("a"), failed_row("b"))
    saved = read(written(tmp_path, profile))
    assert saved.measurements == (profile.rows[0].measurement,)
    assert (saved.device, saved.environment) == ("Fake CPU", ENVIRONMENT)


def test_predictions_are_not_compared(tmp_path):
    with pytest.raises(ConfigError, match="holds no measurement"):
        read(written(tmp_path, predicted_profile(predicted_row())))


def test_a_frame_has_a_column_for_each_figure_and_knows_what_is_missing():
    frame = measured_profile(row("a"), failed_row("b")).frame()
    assert list(frame["network"]) == ["a", "b"]
    assert frame["latency_ms"][0] == 2.0 and frame["latency_ms_from"][0] == "measured"
    assert frame.loc[1, ["latency_ms", "samples", "energy_mj"]].isna().all()
    assert frame["samples"][0] == 30 and frame["predicted_ms"][0] == 2.5
    assert frame["latency_ms"].dtype == float and frame["train"].dtype == bool


def test_csv_is_the_text_that_it_was():
    profile = measured_profile(row('a,"b"'), failed_row("b"))
    head, first, second = as_csv(profile).splitlines()
    assert head.startswith(
        "network,device,batch,precision,mode,channels_last,train,image_size,threads,latency_ms,"
        "latency_ms_low,latency_ms_high,latency_ms_from,latency_ms_status,throughput_ips,"
    )
    assert head.endswith("energy_mj_status,predicted_ms,samples,failure")
    assert first.startswith('"a,""b""",fake_cpu,1,fp32,eager,False,False,,1,2.0,')
    assert first.endswith(",12.5,,,measured,ok,,,,,,,,,,,2.5,30,")
    assert second == (
        "b,fake_cpu,1,fp32,eager,False,False,,1" + "," * 28 + "it needs more memory than there is."
    )
    assert len({len(line) for line in csv.reader(as_csv(profile).splitlines())}) == 1
    assert as_csv(predicted_profile()).splitlines() == [head]
