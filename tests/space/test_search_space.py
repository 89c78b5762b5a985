"""Search spaces: genes and architectures agree, equal networks have equal genes."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smt_nas import PRESETS, SearchSpace
from smt_nas.arch import arrange_mixers
from smt_nas.errors import ConfigError, SpaceError, UnknownName
from smt_nas.files import names
from smt_nas.models import build
from smt_nas.space import SpaceConfig
from smt_nas.yaml import to_yaml

TINY = {
    "image_size": 32,
    "num_classes": 10,
    "stages": [
        {"dim": 16, "depth": [1, 2], "kernels": [[3], [3, 5]], "heads": 2},
        {"dim": 16, "depth": 2, "attention_ratio": [0, 0.25, 0.5, 1], "heads": 2,
         "kernels": [[3], [5]], "stacking": ["alternate", "tail"]},
        {"dim": [16, 32], "depth": [1, 3], "attention_ratio": [0, 0.5], "heads": [2, 4],
         "kernels": [3], "stacking": ["alternate", "tail"]},
        {"dim": 16, "depth": 1, "attention_ratio": 1, "heads": 2, "mlp_ratio": [1, 2]},
    ],
}  # fmt: skip


def tiny():
    return SearchSpace(SpaceConfig.model_validate(TINY), "tiny")


def every_row(space):
    return np.array(list(itertools.product(*(range(c) for c in space.cardinality))))


def space_file(tmp_path, change):
    data = {**TINY, "stages": [dict(s) for s in TINY["stages"]]}
    change(data)
    path = tmp_path / "mine.yaml"
    path.write_text(to_yaml(data))
    return path


@pytest.mark.parametrize("name", names("search_spaces"))
def test_shipped_space(name):
    space = SearchSpace.load(name)
    genes = space.sample(np.random.default_rng(0), 50)
    archs = space.decode(genes)
    assert (space.encode(archs) == genes).all()
    assert space.contains(genes).all() and space.contains(archs).all()
    assert [build(a, device="meta").arch.key for a in archs] == [a.key for a in archs]
    for options in space.config.stages:
        assert all(dim % 8 == 0 for dim in options.dim)
        divisors = [*map(len, options.kernels), *options.heads]
        assert all(dim % d == 0 for dim in options.dim for d in divisors)


def test_the_default_space_is_large_and_holds_the_presets():
    space = SearchSpace.load("smt")
    assert space.size >= 1e10
    assert space.decode(space.encode(list(PRESETS.values()))) == list(PRESETS.values())


def test_size_counts_distinct_networks():
    space = tiny()
    archs = space.decode(every_row(space))
    assert space.size == len({a.key for a in archs})


def test_equal_networks_have_equal_genes():
    space = tiny()
    rows = every_row(space)
    canonical = [tuple(r) for r in space.canonical(rows).tolist()]
    keys = [a.key for a in space.decode(rows)]
    assert len(set(zip(keys, canonical, strict=True))) == len(set(keys)) == len(set(canonical))


def test_two_ways_to_write_an_order_become_the_first_and_no_other_order():
    """A third of 3 blocks in turn is the same as half of them last, but not as half in turn."""
    stage = {"dim": 16, "depth": 3, "attention_ratio": [0.5, 0.34], "heads": 2}
    plain = {"dim": 16, "depth": 1}
    config = {"stages": [plain, plain, stage | {"stacking": ["alternate", "tail"]}, plain]}
    space = SearchSpace(SpaceConfig.model_validate(config))
    columns = [space.column(2, field) for field in ("attention_ratio", "stacking")]
    for row, arch in zip(every_row(space), space.decode(every_row(space)), strict=True):
        share, stacking = (space.genes[c].options[row[c]] for c in columns)
        assert arch.stages[2].mixers == arrange_mixers(3, share, stacking)


@given(seed=st.integers(0, 2**32), n=st.integers(0, 20))
def test_samples_are_canonical_and_come_back(seed, n):
    space = SearchSpace.load("smt_micro")
    genes = space.sample(np.random.default_rng(seed), n)
    assert genes.shape == (n, len(space.genes))
    assert (space.canonical(genes) == genes).all()
    assert (space.encode(space.decode(genes)) == genes).all()


def test_an_architecture_outside_is_refused_by_name():
    space = SearchSpace.load("smt")
    wide = PRESETS["smt_t"].stages[0].model_copy(update={"dim": 4096})
    arch = PRESETS["smt_t"].model_copy(update={"stages": (wide, *PRESETS["smt_t"].stages[1:])})
    assert not space.contains([arch])[0]
    with pytest.raises(SpaceError, match=r"stage1\.dim must be one of 32, .*, 112 \(got 4096"):
        space.encode(arch)


@pytest.mark.parametrize(
    "genes",
    [np.zeros((2, 3), int), np.zeros((1, 33)), np.full((1, 33), 99), np.full((1, 33), -1)],
)
def test_genes_that_are_none(genes):
    space = SearchSpace.load("smt")
    with pytest.raises(SpaceError, match="space smt"):
        space.canonical(genes)
    assert not space.contains(genes).any()


def test_no_genes_are_fine():
    space = SearchSpace.load("smt")
    empty = space.sample(np.random.default_rng(0), 0)
    assert space.decode(empty) == [] and space.encode([]).shape == (0, len(space.genes))


def test_a_users_file_loads(tmp_path):
    path = space_file(tmp_path, lambda data: None)
    assert SearchSpace.load(path).digest == tiny().digest
    assert SearchSpace.load(str(path)).name == "mine"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(image_sise=32), "Did you mean 'image_size'"),
        (lambda d: d["stages"][0].update(dims=3), "Did you mean 'dim'"),
        (lambda d: d["stages"][0].update(dim="16"), r"dim\[0\] must be a valid integer"),
        (lambda d: d["stages"][0].update(expand_ratio=1.5), r"\(got 1\.5\)\. Use 1 or 2\."),
        (lambda d: d["stages"][0].update(dim=[]), "at least 1 item"),
        (lambda d: d["stages"][0].update(dim=[16, 16]), "must be distinct options"),
        (lambda d: d["stages"][0].update(dim=[16, 17]), "divisible by the number of kernels"),
        (lambda d: d["stages"][1].update(heads=3), "dim must be divisible by heads"),
        (lambda d: d["stages"][0].update(kernels=[[4]]), "must be odd"),
        (lambda d: d["stages"][0].update(depth=0), "greater than or equal to 1"),
        (lambda d: d["stages"][1].update(attention_ratio=1.5), "less than or equal to 1"),
        (lambda d: d["stages"][3].update(mlp_ratio=[1, 1.01]), "give the same width"),
        (lambda d: d["stages"].pop(), r"stages\[3\] is missing"),
        (lambda d: d.update(stem={"kernel": 4}), "must be 3, 5 or 7"),
        (lambda d: d["stages"][2].update(depth=list(range(1, 65)), mlp_ratio=list(range(1, 65)),
         expand_ratio=list(range(1, 17)), attention_ratio=[i / 64 for i in range(64)]),
         "combinations"),
    ],
)  # fmt: skip
def test_a_file_that_breaks_a_rule_is_one_clear_line(tmp_path, change, message):
    path = space_file(tmp_path, change)
    with pytest.raises(ConfigError, match=message) as caught:
        SearchSpace.load(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def test_an_unknown_space_is_answered_with_the_nearest():
    with pytest.raises(UnknownName, match=r"Known: smt, smt_micro.*Did you mean 'smt_micro'\?"):
        SearchSpace.load("smt_mikro")
