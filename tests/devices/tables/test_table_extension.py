"""A measured table serves what it holds; the rest is predicted, and less sure."""

from types import SimpleNamespace

import numpy as np
import pytest

from smt_nas.conditions import Conditions
from smt_nas.costs.parts import PartIndex
from smt_nas.devices.block_table import BlockTable
from smt_nas.devices.device import load_device
from smt_nas.devices.tables.table_extension import extend_table, restrict_table
from smt_nas.report.search.latency import PREDICTION_SOURCES
from smt_nas.search.problem.forecast import predict_latency
from smt_nas.space import SearchSpace, SpaceConfig
from smt_nas.space.editions import FIRST_SMT, find_edition

NOW, FIRST = SearchSpace.load("smt"), find_edition("smt", FIRST_SMT)
ONE = Conditions(threads=1)


def small(dims):
    stages = [
        {"dim": dims, "depth": 1, "kernels": [[3], [3, 5]], "mlp_ratio": [1, 2]},
        *({"dim": [4 * d for d in dims], "depth": [1, 2], "heads": 4} for _ in range(3)),
    ]
    config = SpaceConfig.model_validate({"image_size": 64, "stages": stages})
    return SearchSpace(config, "small")


FEW, MANY = small([16, 32]), small([8, 16, 32])


def law(space):
    """What a sheet might say of each part."""
    parts = PartIndex.of(space).parts
    return np.array([p.dim * p.size[0] * (1 + len(p.kernels)) / 1e3 for p in parts])


def table(space, ms, **fields):
    return BlockTable(PartIndex.of(space), ONE, ms, **fields)


@pytest.fixture(scope="module")
def device():
    return load_device("epyc_zen3_2cpu")


def test_a_shipped_table_serves_all_networks_of_its_edition_as_before(device):
    genes = FIRST.sample(np.random.default_rng(0), 200)
    before = device.predict(FIRST, genes, ONE)
    now = device.predict(NOW, NOW.encode(FIRST.decode(genes)), ONE)
    assert (before.basis, now.basis) == ("table", "table+sheet")
    for field in ("ms", "low", "high"):
        assert getattr(now, field).tolist() == getattr(before, field).tolist()


def test_a_narrower_network_has_a_wider_interval(device):
    genes = NOW.sample(np.random.default_rng(0), 200)
    for stage in range(4):
        genes[:, NOW.column(stage, "dim")] = 0
    wide = genes.copy()
    for stage in range(4):
        wide[:, NOW.column(stage, "dim")] = 2  # the least that was measured
    narrow, held = (device.predict(NOW, NOW.canonical(g), ONE) for g in (genes, wide))
    assert (narrow.ms < held.ms).all() and (narrow.low > 0).all()
    assert (narrow.high / narrow.ms > 1.03 * held.high / held.ms).all()
    assert "480 of 903 parts of space smt were measured on it" in narrow.notes[-1]


def test_a_search_is_told_the_basis_and_that_presets_are_inside(device):
    forecast = predict_latency(device, SimpleNamespace(conditions=ONE), NOW)
    assert forecast.basis == "table+sheet" and forecast.apart == {}
    assert forecast.basis in PREDICTION_SOURCES


def test_what_is_held_keeps_its_time_and_its_doubt():
    doubt = np.linspace(0, 0.3, len(law(FEW)))
    few = table(FEW, 2 * law(FEW), host_ms=law(FEW), spread=doubt, low=-0.1, high=0.1)
    many = extend_table(few, table(MANY, law(MANY), host_ms=law(MANY)))
    place = {part: i for i, part in enumerate(many.index.parts)}
    at = [place[part] for part in few.index.parts]
    assert many.ms[at].tolist() == few.ms.tolist() and many.spread[at].tolist() == doubt.tolist()
    assert many.host_ms[at].tolist() == few.host_ms.tolist()
    assert many.basis == "table+sheet" and few.basis == "table"


def test_the_rest_is_the_sheet_at_the_pace_of_its_like():
    few = table(FEW, 2 * law(FEW))
    many = extend_table(few, table(MANY, law(MANY)))
    assert many.ms == pytest.approx(2 * law(MANY))
    lacking = np.array([part not in few.index.parts for part in many.index.parts])
    assert (many.spread[lacking] == 0.05).all() and (many.spread[~lacking] == 0).all()


def test_a_ratio_that_drifts_with_the_width_makes_the_rest_less_sure():
    drift = np.array([part.dim**0.5 for part in PartIndex.of(FEW).parts])
    many = extend_table(table(FEW, drift * law(FEW)), table(MANY, law(MANY)))
    off = np.log(np.array([p.dim**0.5 for p in many.index.parts]) * law(MANY) / many.ms)
    assert (np.abs(off) <= many.spread + 1e-9).mean() > 0.8


def test_without_a_like_the_kind_stands_in_and_is_doubted():
    other = MANY.config.model_dump(mode="json")
    other["stages"][0]["kernels"] = [[3], [7]]
    space = SearchSpace(SpaceConfig.model_validate(other), "small")
    many = extend_table(table(FEW, 2 * law(FEW)), table(space, law(space)))
    strange = np.array([part.kernels == (7,) for part in many.index.parts])
    assert strange.any() and (many.spread[strange] >= np.log(2)).all()
    assert many.ms == pytest.approx(2 * law(space))


def test_a_space_with_nothing_more_needs_no_sheet():
    many = table(MANY, law(MANY), spread=0.1)
    few = restrict_table(many, PartIndex.of(FEW))
    genes = FEW.sample(np.random.default_rng(0), 20)
    theirs = many.predict(MANY.encode(FEW.decode(genes)))
    assert few.basis == "table" and few.predict(genes).ms.tolist() == theirs.ms.tolist()
    assert restrict_table(few, PartIndex.of(MANY)) is None
