"""Budgets: what the text means, that it survives a round trip, and what is said of bad text."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smt_nas.arch import PRESETS
from smt_nas.budgets import (
    _UNITS,
    MAX_TEXT,
    PRECISIONS,
    Budget,
    Limit,
    describe_macs,
    parse_budget,
    parse_target,
    resolve_budget,
)
from smt_nas.errors import ConfigError, SmtNasError
from smt_nas.metrics import METRICS

ABSOLUTE = {  # text -> metric, low, high
    "2.4GFLOPs": ("macs", None, 2_400_000_000),
    "2.3GFLOPs": ("macs", None, 2_300_000_000),
    "2.4GMACs": ("macs", None, 2_400_000_000),
    "2.4GFLOP": ("macs", None, 2_400_000_000),
    "2.4GFLOPS": ("macs", None, 2_400_000_000),
    "2.4gflops": ("macs", None, 2_400_000_000),
    " 2.4  gmacs ": ("macs", None, 2_400_000_000),
    "40MMACs": ("macs", None, 40_000_000),
    "0.0024TFLOPs": ("macs", None, 2_400_000_000),
    "2.0..2.4GFLOPs": ("macs", 2_000_000_000, 2_400_000_000),
    "2 .. 2.4 GFLOPs": ("macs", 2_000_000_000, 2_400_000_000),
    "2.4..2.4GFLOPs": ("macs", 2_400_000_000, 2_400_000_000),
    "12Mparams": ("params", None, 12_000_000),
    "12mparams": ("params", None, 12_000_000),
    "1.2e7params": ("params", None, 12_000_000),
    "30Mactivations": ("activations", None, 30_000_000),
    "2GB": ("peak_memory_mb", None, 2000),
    "500MB": ("peak_memory_mb", None, 500),
    "500mb": ("peak_memory_mb", None, 500),
    "5ms": ("latency_ms", None, 5),
    "0.1s": ("latency_ms", None, 100),
    "700us": ("latency_ms", None, 0.7),
    "4..5ms": ("latency_ms", 4, 5),
    "1500img/s": ("throughput_ips", 1500, None),
    "1500..2000img/s": ("throughput_ips", 1500, 2000),
}

RELATIVE = {  # text -> preset, metric, shares
    "smt_t": ("smt_t", "macs", ["1"]),
    "SMT_T": ("smt_t", "macs", ["1"]),
    "smt_t.flops": ("smt_t", "macs", ["1"]),
    "0.9*smt_s": ("smt_s", "macs", ["0.9"]),
    "0.9 * smt_s": ("smt_s", "macs", ["0.9"]),
    "0.8..0.9*smt_s": ("smt_s", "macs", ["0.8", "0.9"]),
    "smt_b.params": ("smt_b", "params", ["1"]),
    "0.8*smt_t.memory": ("smt_t", "peak_memory_mb", ["0.8"]),
    "0.8*smt_t.activations": ("smt_t", "activations", ["0.8"]),
    "0.8*smt_t.latency": ("smt_t", "latency_ms", ["0.8"]),
    "2*smt_t.throughput": ("smt_t", "throughput_ips", ["2"]),
}

TARGETS = {  # text -> device, batch, precision
    "5ms": (None, None, None),
    "5ms@a100": ("a100", None, None),
    "5ms@A100:b1:fp16": ("a100", 1, "fp16"),
    "5ms@a100:fp16:b1": ("a100", 1, "fp16"),
    "5ms @ a100 : b8": ("a100", 8, None),
    "5ms@b8:amp-bf16": (None, 8, "amp-bf16"),
    "5ms@rtx-4090.v2": ("rtx-4090.v2", None, None),
    "1500img/s@t4:b64": ("t4", 64, None),
    "2GB@a100:b8": ("a100", 8, None),
    "0.8*smt_t.latency@a100:b1": ("a100", 1, None),
}

REFUSED = {  # text -> what the message says
    "": "is empty",
    "   ": "is empty",
    "2.4GFLOP5": "unknown unit 'GFLOP5'.* Did you mean 'GFLOPs'\\?",
    "12Mparms": "unknown unit 'Mparms'.* Did you mean 'Mparams'\\?",
    "5mss": "Did you mean 'ms'\\?",
    "2GiB": "Did you mean 'GB'\\?",
    "2.4.5GFLOPs": "unknown unit",
    "2GFLOPs..3GFLOPs": "unknown unit",
    "2.4": "needs a unit. Did you mean '2.4GFLOPs'\\?",
    "2.4G": "needs a unit. Did you mean '2.4GFLOPs'\\?",
    "12M": "needs a unit. Did you mean '12Mparams'\\?",
    "2,4GFLOPs": "a comma has no place",
    "2.4GFLOPs,12Mparams": "repeat --budget",
    "0GFLOPs": "must be above 0.*got 0\\)",
    "0..2.4GFLOPs": "must be above 0",
    "-2.4GFLOPs": "must be above 0.*got -2.4\\)",
    "nan": "must be above 0.*got nan\\)",
    "nanGFLOPs": "must be above 0",
    "infms": "must be above 0",
    "-infinityms": "must be above 0",
    "1e400GFLOPs": "from 1e-9 to 1e18 \\(got 1e400\\)",
    "1e-400GFLOPs": "from 1e-9 to 1e18",
    "1e99999999999999999999GFLOPs": "from 1e-9 to 1e18",
    "0*smt_t": "must be above 0",
    "nan*smt_t": "must be above 0",
    "1.234567890123456789012GFLOPs": "at most 20 digits",
    "2.4..2.0GFLOPs": "Did you mean '2.0..2.4GFLOPs'\\?",
    "0.9..0.8*smt_s": "Did you mean '0.8..0.9\\*smt_s'\\?",
    "smt_q": "neither an amount nor a preset.* Did you mean 'smt_t'\\?",
    "GFLOPs": "neither an amount nor a preset",
    "\u0662GFLOPs": "neither an amount nor a preset",
    "0.9*smt": "unknown preset 'smt'",
    "3*": "unknown preset ''",
    "*smt_t": "the share must be a number",
    "smt_t*0.9": "the share must be a number",
    "2GFLOPs*smt_t": "the share must be a number",
    "0.9smt_t": "Did you mean '0.9\\*smt_t'\\?",
    "0.9*smt_t.latencies": "unknown figure 'latencies'.* Did you mean 'latency'\\?",
    "smt_t.": "unknown figure ''",
    "5ms@a100:fp17": "unknown precision 'fp17'.* Did you mean 'fp16'\\?",
    "5ms@fp8": "unknown precision 'fp8'",
    "5ms@a100:b0": "the batch must be from 1 to 65536 \\(got 0\\)",
    "5ms@a100:b99999999": "the batch must be",
    "5ms@": "each once",
    "5ms@a100:": "each once",
    "5ms@a100:v100": "each once.*got 'v100'",
    "5ms@a100:b1:b2": "each once.*got 'b2'",
    "5ms@fp16:fp16": "each once.*got 'fp16'",
    "5ms@a100@v100": "each once",
    "2.4GFLOPs@a100": "macs is the same on every device",
    "9" * (MAX_TEXT + 1): "is too long",
}


def decimals() -> st.SearchStrategy[Decimal]:
    return st.decimals("0.000000001", "1e18", allow_nan=False, allow_infinity=False).filter(
        lambda d: len(d.as_tuple().digits) <= 20
    )


@st.composite
def budgets(draw: st.DrawFn) -> Budget:
    """Any budget that can be written."""
    ends = sorted(draw(st.lists(decimals(), min_size=1, max_size=2)))
    unit = draw(st.sampled_from([None, *_UNITS]))
    words = sorted({m for m, _ in _UNITS.values()})
    metric = draw(st.sampled_from(words)) if unit is None else _UNITS[unit][0]
    preset = draw(st.sampled_from(sorted(PRESETS))) if unit is None else None
    device, batch, precision = None, None, None
    if metric in ("latency_ms", "throughput_ips", "peak_memory_mb"):
        device = draw(st.sampled_from([None, "a100", "rtx-4090", "jetson.orin_nano"]))
        batch = draw(st.none() | st.integers(1, 65_536))
        precision = draw(st.sampled_from([None, *PRECISIONS]))
    return Budget(metric, tuple(ends), unit, preset, device, batch, precision)


@given(budgets())
@example(Budget("macs", (Decimal("2.0"), Decimal("2.40")), unit="GFLOPs"))
def test_parse_undoes_format(budget):
    assert parse_budget(str(budget)) == budget


@given(budgets())
def test_format_undoes_parse_on_canonical_text(budget):
    text = str(budget)
    assert str(parse_budget(text)) == text


@pytest.mark.parametrize("text", ["2.4GFLOPs", "2.0..2.40GMACs", "0.90*smt_s", "5ms@a100:b1:fp16"])
def test_amounts_stay_as_written(text):
    assert str(parse_budget(text)) == text


@given(budgets())
def test_limits_are_ordered_numbers_of_a_known_metric(budget):
    assert budget.metric in METRICS
    limit = resolve_budget(budget, lambda preset, metric: 1e9)
    known = [end for end in (limit.low, limit.high) if end is not None]
    assert known == sorted(known)
    assert all(0 < end < float("inf") for end in known)


@given(st.text(max_size=40) | st.text("0123456789.*@:ebGFLOPsmt_ ", max_size=40))
def test_any_text_parses_or_is_refused_in_one_line(text):
    try:
        budget = parse_budget(text)
    except SmtNasError as error:
        assert "\n" not in str(error)
    else:
        assert parse_budget(str(budget)) == budget


@pytest.mark.parametrize(("text", "expected"), ABSOLUTE.items())
def test_absolute(text, expected):
    budget = parse_budget(text)
    assert (budget.metric, budget.low, budget.high) == expected
    assert budget.preset is None
    assert resolve_budget(budget, lambda preset, metric: pytest.fail("not relative")) == Limit(
        *expected
    )


@pytest.mark.parametrize(("text", "expected"), RELATIVE.items())
def test_relative(text, expected):
    budget = parse_budget(text)
    preset, metric, shares = expected
    assert (budget.preset, budget.metric) == (preset, metric)
    assert budget.amounts == tuple(map(Decimal, shares))
    assert (budget.low, budget.high, budget.unit) == (None, None, None)


@pytest.mark.parametrize(("text", "expected"), TARGETS.items())
def test_target(text, expected):
    budget = parse_budget(text)
    assert (budget.device, budget.batch, budget.precision) == expected


@pytest.mark.parametrize(("text", "message"), REFUSED.items())
def test_refused_with_a_way_out(text, message):
    with pytest.raises(ConfigError, match=message) as caught:
        parse_budget(text)
    assert str(caught.value).startswith("budget '")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250


def test_the_same_amount_of_gflops_and_gmacs_is_the_same_limit():
    flops, macs = parse_budget("2.4GFLOPs"), parse_budget("2.4GMACs")
    assert (flops.metric, flops.high) == (macs.metric, macs.high)


@pytest.mark.parametrize("text", ["5ms", "1500img/s", "0.8*smt_t.latency", "2GB@a100", "2GB@b8"])
def test_what_no_formula_answers_needs_a_prediction(text):
    assert parse_budget(text).needs_prediction


@pytest.mark.parametrize("text", ["2.4GFLOPs", "2GB", "smt_t", "12Mparams", "1Mactivations"])
def test_what_a_formula_answers_needs_none(text):
    assert not parse_budget(text).needs_prediction


def test_resolve_asks_for_the_preset_s_figure():
    asked = []

    def value(preset, metric):
        asked.append((preset, metric))
        return np.float64(4_838_833_152)

    assert resolve_budget(parse_budget("0.9*smt_s"), value) == Limit("macs", None, 4_354_949_836.8)
    assert resolve_budget(parse_budget("0.5..1*smt_s"), value).low == 2_419_416_576
    assert resolve_budget(parse_budget("2*smt_t.throughput"), lambda p, m: 100) == Limit(
        "throughput_ips", 200, None
    )
    assert asked == [("smt_s", "macs")] * 2


def test_a_limit_holds_its_ends_and_never_what_was_not_measured():
    limit = Limit("macs", 2e9, 2.4e9)
    assert limit.holds(2e9) and limit.holds(2.4e9)
    assert not limit.holds(2.4e9 + 1) and not limit.holds(2e9 - 1) and not limit.holds(None)
    assert not Limit("macs", None, None).holds(None)


def test_a_limit_reads_like_the_tables():
    assert str(Limit("macs", None, 2.4e9)) == "at most 2.4 GMACs"
    assert str(Limit("throughput_ips", 1500, None)) == "at least 1500 img/s"
    assert str(Limit("params", 1e7, 1.2e7)) == "10 Mparams to 12 Mparams"


def test_describe_macs():
    assert describe_macs(2_461_268_480) == "2.46 GMACs (4.92 GFLOP at 2 FLOPs per MAC)"
    assert describe_macs(2_461_268_480, 81_000_000).endswith(
        "; 2.38 where attention matmuls are not counted)"
    )
    assert describe_macs(12_300_000) == "12.30 MMACs (24.60 MFLOP at 2 FLOPs per MAC)"
    assert describe_macs(0) == "0.00 MACs (0.00 FLOP at 2 FLOPs per MAC)"


def test_of_two_words_like_a_batch_the_first_is_the_device():
    assert parse_target("b200:b8") == ("b200", 8, None, None)
    assert parse_target("fp16:b200:b8") == ("b200", 8, "fp16", None)
    assert parse_target("a100:b200") == ("a100", 200, None, None)
    assert parse_target("b200") == (None, 200, None, None)  # which devices there are, others know


def test_an_index_of_a_gpu_has_one_spelling():
    assert parse_target("cuda:01:b8") == parse_target("cuda:1:b8") == ("cuda:1", 8, None, None)
    assert parse_target("cuda:0") == ("cuda:0", None, None, None)


def test_a_target_has_a_mode():
    budget = parse_budget("3ms@4090:b1:fp16:graph")
    assert (budget.device, budget.batch, budget.precision, budget.mode) == (
        "4090", 1, "fp16", "graph",
    )  # fmt: skip
    assert str(budget) == "3ms@4090:b1:fp16:graph" and budget.needs_prediction
    assert parse_budget("3ms@graph").mode == "graph"
    with pytest.raises(ConfigError, match="each once"):
        parse_budget("3ms@4090:graph:compile")
