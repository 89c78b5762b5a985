"""METRICS: names that people write, and units that follow the size."""

import pytest

from smt_nas.errors import UnknownName
from smt_nas.metrics import METRICS, metric, round_significant


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("macs", 20e6, "20 MMACs"),
        ("macs", 2.4e9, "2.4 GMACs"),
        ("macs", 2_214_900_000, "2.215 GMACs"),
        ("macs", 999_999_999, "1 GMACs"),
        ("params", 5e5, "500 kparams"),
        ("params", 12e6, "12 Mparams"),
        ("activations", 1.5e6, "1.5 Mactivations"),
        ("peak_memory_mb", 2000, "2 GB"),
        ("peak_memory_mb", 0.3, "300 kB"),
        ("latency_ms", 5, "5 ms"),
        ("latency_ms", 0.05, "0.05 ms"),
        ("throughput_ips", 150_000, "150000 img/s"),
    ],
)
def test_a_quantity_is_told_in_the_unit_that_suits_it(name, value, expected):
    assert METRICS[name].describe(value) == expected


@pytest.mark.parametrize(
    ("name", "values", "heading", "shown"),
    [
        ("macs", [0.446e9, 17e9], "GMACs", ["0.446", "17.000"]),
        ("macs", [5e6, 300e6, None], "MMACs", ["5.00", "300.00", "-"]),
        ("attention_macs", [19e6], "attn MMACs", ["19.0"]),
        ("params", [43e3, 1.7e6], "kparams", ["43.0", "1700.0"]),
        ("params", [2.9e6, 81e6], "Mparams", ["2.90", "81.00"]),
        ("params", [900], "kparams", ["0.90"]),
        ("params", [12], "params", ["12"]),
        ("peak_memory_mb", [0.02, 0.5], "peak kB", ["20.0", "500.0"]),
        ("latency_ms", [0.01, 5], "latency_ms", ["0.01", "5.00"]),
        ("macs", [None], "GMACs", ["-"]),
        ("score", [0.5, -12.25, 0.0], "score", ["0.500", "-12.250", "0.000"]),
        ("score", [0.0123, -0.001], "score", ["0.0123", "-0.0010"]),
        ("score", [2e-9, 3e-7, None], "score", ["2.000e-09", "3.000e-07", "-"]),
        ("score", [1e300, -2.5], "score", ["1.000e+300", "-2.500e+00"]),
        ("score", [0.0], "score", ["0.000"]),
    ],
)
def test_a_column_has_one_unit_by_its_smallest_value(name, values, heading, shown):
    unit = METRICS[name].choose_unit(values)
    assert (unit.heading, [unit.show(v) for v in values]) == (heading, shown)


def test_digits_are_significant_ones():
    assert [round_significant(x) for x in (0, 1234.56, 12.3456, 0.00123456)] == [
        "0",
        "1235",
        "12.35",
        "0.001235",
    ]


@pytest.mark.parametrize(
    ("word", "name"),
    [("latency", "latency_ms"), ("top1", "top1_pct"), ("FLOPs", "macs"), ("VAL_TOP1", "val_top1")],
)
def test_a_metric_is_found_by_what_people_write(word, name):
    assert metric(word).name == name


def test_an_unknown_metric_is_answered_with_one_that_is_near():
    with pytest.raises(UnknownName, match="Did you mean 'top1'"):
        metric("topp1")
