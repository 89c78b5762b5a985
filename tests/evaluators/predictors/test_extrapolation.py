"""Where a network lies outside what was trained."""

import pytest

from smt_nas.arch import PRESETS, SMALL_PRESETS
from smt_nas.evaluators import published_agreement
from smt_nas.evaluators.predictors.extrapolation import find_extrapolated
from smt_nas.evaluators.predictors.features import NAMES, WORDS

WIDE = {name: (-9.0, 9.0) for name in NAMES}


@pytest.fixture
def ranges(monkeypatch):
    """Sets what the bench had."""

    def of(**narrow):
        monkeypatch.setattr(published_agreement, "feature_ranges", lambda: WIDE | narrow)

    return of


def test_a_network_like_those_trained_is_inside(ranges):
    ranges()
    assert find_extrapolated([PRESETS["smt_t"]])[0] == ()


def test_a_feature_outside_is_told_in_words_a_reader_knows(ranges):
    ranges(log_depth=(-0.5, 0.3), log2_width_2_1=(0.0, 2.0))
    [found] = find_extrapolated([PRESETS["smt_s"]])[0]  # 27 blocks against 13
    assert found.feature == "log_depth"
    assert found.value == pytest.approx(27 / 13)
    assert str(found) == "blocks against the published pattern 2.08 (bench 0.607 to 1.35)"
    assert found.widths > 0.5


def test_what_evidence_of_before_knows_nothing_of_is_outside_where_it_acts(monkeypatch):
    monkeypatch.setattr(
        published_agreement,
        "feature_ranges",
        lambda: {n: r for n, r in WIDE.items() if "ffn_k" not in n},
    )
    assert find_extrapolated([PRESETS["smt_t"]])[0] == ()
    third = PRESETS["smt_t"].stages[2].model_copy(update={"ffn_kernel": 5})
    stages = (*PRESETS["smt_t"].stages[:2], third, PRESETS["smt_t"].stages[3])
    [found] = find_extrapolated([PRESETS["smt_t"].model_copy(update={"stages": stages})])[0]
    told = "FFN kernel of stage 3 against the published pattern 1.67 (bench 1 to 1)"
    assert str(found) == told


def test_the_farthest_comes_first(ranges):
    ranges(log_depth=(-0.5, 0.7), log_macs=(-1.0, 0.2))
    assert [b.feature for b in find_extrapolated([PRESETS["smt_l"]])[0]] == [
        "log_macs",
        "log_depth",
    ]


def test_a_hair_outside_is_inside(ranges):
    ranges(log_depth=(-1.0, -1e-3))
    assert find_extrapolated([SMALL_PRESETS["smt_micro"]])[0] == ()


def test_a_feature_that_hardly_varied_counts_in_plain_units(ranges):
    ranges(attention_share_1=(0.0, 0.0), attention_share_4=(0.0, 0.0))
    [found] = find_extrapolated([PRESETS["smt_t"]])[0]
    assert found.words == "share of attention in stage 4" and found.widths == pytest.approx(20)


def test_every_feature_has_words_of_its_own():
    assert list(WORDS) == list(NAMES) and len(set(WORDS.values())) == len(NAMES)
    assert WORDS["log2_width_3_2"] == "width of stage 3 against stage 2"


def test_without_a_bench_nothing_is_said(monkeypatch):
    monkeypatch.setattr(published_agreement, "feature_ranges", dict)
    assert find_extrapolated([PRESETS["smt_l"]])[0] == ()
