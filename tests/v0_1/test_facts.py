"""What 0.1 said of networks, costs, devices, evaluators and words is what is said now."""

import pytest

from tests.v0_1 import observe
from tests.v0_1.kept import assert_as, read


@pytest.mark.parametrize("name", ["keys", "count", "digests"])
def test_hashes_and_counts_are_exactly_what_they_were(name):
    assert observe.as_json(getattr(observe, name)()) == read(f"{name}.json")


def test_evaluations_are_what_they_were():
    """Those of joint at full size are not: it learns from published networks since."""
    then = read("rate.json")
    del then["joint smt"]
    assert_as(observe.rate(), then)


def test_latencies_by_tables_are_what_they_were():
    """Those by the sheets of GPUs are not: the host is modelled since."""
    now, then = observe.predict(), read("predict.json")
    assert now.keys() == then.keys()
    tables = [name for name in then if name.startswith("epyc_zen3_2cpu")]
    assert len(tables) == 3
    assert_as({name: now[name] for name in tables}, {name: then[name] for name in tables})


@pytest.mark.slow
@pytest.mark.parametrize("name", list(observe.FRONTS))
def test_the_same_seed_gives_the_same_front(name, tmp_path):
    assert_as(observe.search(name, tmp_path / "run"), read("fronts.json")[name])


def test_no_word_of_the_command_line_is_gone():
    now, gone = observe.words(), []
    for command, params in read("words.json").items():
        if command not in now:
            gone.append(command)
            continue
        options = {w: p for p in now[command] if p["kind"] == "option" for w in p["words"]}
        for param in (p for p in params if p["kind"] == "option"):
            for word in param["words"]:
                there = options.get(word, {})
                if any(there.get(k) != param[k] for k in ("flag", "several", "required")):
                    gone.append(f"{command} {word}")
        then, here = ([p for p in x if p["kind"] == "argument"] for x in (params, now[command]))
        shape = [[(p["several"], p["required"]) for p in x] for x in (then, here)]
        if shape[0] != shape[1]:
            gone.append(f"{command}: its arguments")
    assert not gone
