"""Evaluators on published networks: which may be asked, and what a table of one's own must hold."""

import pytest

from smt_nas.errors import ConfigError
from smt_nas.evaluators.topology.published_table import SHIPPED
from smt_nas.evaluators.validation.family_validation import (
    COSTS,
    JOINT,
    LAW,
    find_published,
    validate_families,
)
from tests.fakes.benches import rows, written
from tests.fakes.published import write_own


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    path = write_own(tmp_path_factory.mktemp("own") / "own.csv")
    return validate_families(["joint"], str(path), path)


def test_a_table_of_ones_own_has_figures_of_its_networks(own):
    assert [row.model for row in own.errors] == [LAW, COSTS, JOINT]
    none, known = own.targets
    assert none.networks > known.networks > 0 and known.hybrid_families >= 2
    for row in own.errors:
        assert all(0 < error < 5 for error in (*row.unknown, *row.known))
        assert all(0 <= share <= 1 for share in row.coverage)
    assert own.region.lines >= 10
    wider = zip(own.gain_coverage, own.errors[-1].coverage, strict=True)
    assert all(of_95 >= of_80 for of_95, of_80 in wider)


def test_the_seed_is_of_resamples_and_halves_alone(tmp_path, own):
    path = write_own(tmp_path / "own.csv")
    other = validate_families(["joint"], str(path), path, seed=5)
    assert other.errors == own.errors
    assert other.above[COSTS].mean == own.above[COSTS].mean
    assert other.region.inside != own.region.inside


def test_capacity_is_the_law_alone(tmp_path):
    path = write_own(tmp_path / "own.csv")
    validation = validate_families(["capacity"], str(path), path)
    assert [row.model for row in validation.errors] == [LAW]
    assert not validation.above and validation.region is None


def without_members(frame):
    return frame.groupby("family").head(2)


def test_families_too_small_for_known_members_have_figures_with_none_known(tmp_path):
    path = write_own(tmp_path / "own.csv", without_members)
    validation = validate_families(["joint"], str(path), path)
    assert validation.targets[1].networks == 0
    assert all(row.known == (None, None) for row in validation.errors)
    assert all(row.unknown[1] is not None for row in validation.errors)
    assert set(validation.above.values()) == {None} and validation.cross_coverage is None


def test_without_hybrids_theirs_are_not_told(tmp_path):
    path = write_own(tmp_path / "own.csv", lambda f: f.assign(hybrid=0))
    for row in validate_families(["joint"], str(path), path).errors:
        assert row.unknown[0] is None and row.unknown[1] is not None


def test_few_lines_of_design_are_no_check_of_the_region(tmp_path):
    path = write_own(
        tmp_path / "own.csv", lambda f: f[f.family.str.startswith(("ownpvt", "ownca"))]
    )
    validation = validate_families(["joint"], str(path), path)
    assert validation.region is None and validation.targets[0].families == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: f.assign(metaformer=0), "with metaformer 1 (got 0)"),
        (lambda f: f.assign(e1=0.25), "with expansion of 1 or more in every stage (got 0)"),
        (lambda f: f.assign(family="one"), "needs two families or more"),
    ],
)
def test_nothing_to_learn_from_is_said_in_one_line(tmp_path, change, said):
    path = write_own(tmp_path / "own.csv", change)
    with pytest.raises(ConfigError) as error:
        validate_families(["joint"], str(path), path)
    assert said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["zero-cost", "predictor", "mine:fn"])
def test_others_are_sent_to_a_bench(name):
    with pytest.raises(ConfigError, match=rf"got {name} --on imagenet.*--on smt-bench-mini"):
        validate_families(["joint", name], "imagenet", SHIPPED)


def test_a_bench_is_no_table_of_published_networks(tmp_path):
    table = written(tmp_path / "bench", rows(12))
    assert find_published("smt-bench-mini") is None
    assert find_published(str(table)) is None and find_published(str(tmp_path / "no.csv")) is None
    own = write_own(tmp_path / "own.csv")
    assert find_published(str(own)) == own and find_published("imagenet") == SHIPPED


def test_a_bench_that_lost_its_card_is_still_one(tmp_path):
    table = written(tmp_path / "bench", rows(12))
    (table / "bench.csv" if table.is_dir() else table).rename(tmp_path / "alone.csv")
    assert find_published(str(tmp_path / "alone.csv")) is None
