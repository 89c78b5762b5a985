"""What the YAML of a space may say, and what it answers to what it may not."""

import time
import tracemalloc

import pytest

from smt_nas.errors import ConfigError
from smt_nas.space import SearchSpace, SpaceConfig
from smt_nas.yaml import to_yaml

STAGE = {"dim": 16, "depth": 1}


def space_of(**changed):
    """A space whose second stage has these options."""
    stages = [STAGE, {**STAGE, **changed}, STAGE, STAGE]
    return SearchSpace(SpaceConfig.model_validate({"stages": stages}))


def load(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return SearchSpace.load(path)


def test_one_option_needs_no_list():
    one = space_of(dim=32, depth=2, mlp_ratio=3, attention_ratio=0.5, stacking="tail", heads=4)
    listed = space_of(
        dim=[32], depth=[2], mlp_ratio=[3], attention_ratio=[0.5], stacking=["tail"], heads=[4]
    )
    assert one.digest == listed.digest
    assert one.size == 1
    assert one.decode(one.canonical([[0] * 33]))[0].stages[1].dim == 32


@pytest.mark.parametrize(
    ("kernels", "options"),
    [
        ([3, 5], ((3, 5),)),
        ([[3, 5]], ((3, 5),)),
        ([[3], [5]], ((3,), (5,))),
        ([9, 3], ((3, 9),)),  # a set has no order
    ],
)
def test_a_flat_list_of_kernels_is_one_set(kernels, options):
    assert space_of(kernels=kernels).config.stages[1].kernels == options


def test_what_is_left_out_is_the_published_network():
    stage = space_of().config.stages[1]
    assert stage.kernels == ((3, 5, 7, 9),)
    assert (stage.mlp_ratio, stage.expand_ratio, stage.attention_ratio) == ((4,), (2,), (0,))


def test_attention_alone_needs_no_width_for_kernels():
    space = space_of(dim=30, heads=3, attention_ratio=1)
    assert space.decode(space.canonical([[0] * 33]))[0].stages[1].mixers == ("msa",)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"dim": 30}, "dim must be divisible by the number of kernels"),
        ({"dim": 30, "kernels": [3], "heads": 4, "attention_ratio": 1}, "divisible by heads"),
        ({"dim": True}, "valid integer"),
        ({"dim": 16.0}, "valid integer"),
        ({"dim": 20_000}, "less than or equal to 16384"),
        ({"depth": 257}, "less than or equal to 256"),
        ({"expand_ratio": 17}, "less than or equal to 16"),
        ({"mlp_ratio": 65}, "less than or equal to 64"),
        ({"mlp_ratio": 0}, r"mlp_ratio must be greater than 0 \(got 0\.0\)"),
        ({"mlp_ratio": float("nan")}, "finite"),
        ({"attention_ratio": -0.5}, "greater than or equal to 0"),
        ({"stacking": "head"}, "'alternate' or 'tail'"),
        ({"kernels": "3,5"}, "valid tuple"),
        ({"kernels": []}, "at least 1 item"),
        ({"kernels": [[]]}, "1 to 8 kernel sizes"),
        ({"kernels": [[3, 5], [5, 3]]}, "distinct options"),
        ({"kernels": [[3, 3]]}, "distinct sizes"),
        ({"heads": 0}, "greater than or equal to 1"),
        ({"stacking": ["tail", "tail"]}, "distinct options"),
        ({"depth": list(range(1, 66))}, "at most 64 items"),
    ],
)
def test_a_rule_is_named_with_its_place(tmp_path, changed, message):
    stages = [STAGE, {**STAGE, **changed}, STAGE, STAGE]
    with pytest.raises(ConfigError, match=message) as caught:
        load(tmp_path, to_yaml({"stages": stages}))
    assert "stages[1]" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image_size: 32\nimage_size: 64\n", "line 2: key 'image_size' stands twice"),
        ("stages: 4\n", r"stages must be a valid tuple \(got 4\)"),
        ("image_size: 31\nstages: []\n", "image_size must be greater than or equal to 32"),
        ("drop_path: automatic\nstages: []\n", "drop_path"),
        ("- smt\n", "must hold `field: value` lines"),
        ("", "must hold `field: value` lines"),
        ("stages: [\n", "not valid YAML"),
    ],
)
def test_a_file_that_is_no_space(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, text)


def test_absurdly_many_combinations_are_refused_at_once():
    many = {
        "dim": [16 * i for i in range(1, 65)],
        "depth": list(range(1, 65)),
        "mlp_ratio": [1 + i / 8 for i in range(64)],
        "expand_ratio": list(range(1, 17)),
        "kernels": [[2 * i + 1] for i in range(31)],
        "attention_ratio": [i / 64 for i in range(64)],
        "stacking": ["alternate", "tail"],
        "heads": list(range(1, 65)),
    }
    tracemalloc.start()
    start = time.process_time()
    with pytest.raises(ValueError, match=r"at most 500,000 combinations.*got 1,065,151,889,408"):
        space_of(**many)
    seconds, (_, peak) = time.process_time() - start, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 5 and peak < 20e6
