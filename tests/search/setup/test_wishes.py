"""How long a resumed search goes on, by what is wished for and what was reached."""

import pytest

from smt_nas.errors import ConfigError
from smt_nas.search import Settings
from smt_nas.search.setup.wishes import Wishes, read_wishes
from smt_nas.search.stop_rule import ANY_NUMBER, StopRule

MINUTES, STALL = StopRule(minutes=10), StopRule(hv_stall=3)


@pytest.mark.parametrize(
    ("words", "wishes"),
    [
        ((), Wishes()),
        (("200",), Wishes(n=200)),
        (("+100",), Wishes(more=100)),
        ((None, "30"), Wishes(minutes=30)),
        ((None, "+0.5", "hv-stall:4"), Wishes(more_minutes=0.5, hv_stall=4)),
    ],
)
def test_words_are_read(words, wishes):
    assert read_wishes(*words) == wishes


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("+0",), "--n: must be 1 or more (got +0)"),
        (("-5",), "--n: must be a number of networks, or +M for M more (got '-5')"),
        (("many",), "(got 'many')"),
        (("1e3",), "(got '1e3')"),
        ((None, "-1"), "--minutes: must be minutes, or +M for M more (got '-1')"),
        ((None, "0"), "--minutes: must be more than 0 (got 0)"),
        ((None, "nan"), "(got 'nan')"),
        ((None, None, "soon"), "--until: must be hv-stall:R"),
    ],
)
def test_nonsense_is_told_in_one_line(words, told):
    with pytest.raises(ConfigError) as error:
        read_wishes(*words)
    assert told in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("wishes", "n", "stop", "reached", "expected"),
    [
        (Wishes(), 50, STALL, "hv-stall", (50, STALL)),
        (Wishes(n=4), 50, StopRule(), None, (40, StopRule())),  # what is tried stays
        (Wishes(n=90), 50, STALL, None, (90, STALL)),
        (Wishes(more=100), 50, STALL, "hv-stall", (140, StopRule())),
        (Wishes(more=100), ANY_NUMBER, MINUTES, "minutes", (140, StopRule())),
        (Wishes(minutes=30), 40, StopRule(), None, (ANY_NUMBER, StopRule(minutes=30))),
        (Wishes(more_minutes=5), 50, MINUTES, "minutes", (50, StopRule(minutes=17))),
        (Wishes(hv_stall=9), 50, STALL, "hv-stall", (50, StopRule(hv_stall=9))),
    ],
)
def test_what_was_reached_gives_way_to_what_is_wished_for(wishes, n, stop, reached, expected):
    settings = Settings(n=n, stop=stop)
    wished = wishes.apply(settings, tried=40, worked_s=720.0, reached=reached)
    assert (wished.n, wished.stop) == expected
    assert wished.model_copy(update={"n": n, "stop": stop}) == settings


def test_more_than_a_search_can_try_is_refused():
    with pytest.raises(ConfigError, match="resume: n"):
        Wishes(more=ANY_NUMBER).apply(Settings(), 40, 0.0, None)
