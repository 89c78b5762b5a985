"""Calibration of a simulated machine: the goal is reached, whatever happens. Once for real."""

import errno
import os
from dataclasses import replace

import numpy as np
import pytest

from smt_nas import SearchSpace
from smt_nas.conditions import Conditions
from smt_nas.devices.tables.measured_table import load_table, table_path
from smt_nas.errors import MeasurementError, StoreError
from smt_nas.profilers.calibration import fit
from smt_nas.profilers.calibration.calibrate import conditions_of, run
from smt_nas.profilers.calibration.schedule import Plan
from smt_nas.profilers.calibration.timer import TorchPartTimer
from tests.fakes.part_timer import SHEET, SMALL, FakePartTimer, Killed

ONE = (Conditions(threads=1),)


def plan(space=SMALL, conditions=ONE, visits=4, seed=0):
    return Plan.of(space, conditions, visits, seed)


def hidden(folder):
    return [p.name for p in folder.iterdir() if p.name.startswith(".")]


def test_the_goal_is_reached_on_a_noisy_machine(tmp_path):
    space, bench = SearchSpace.load("smt_micro"), FakePartTimer()
    found = run(plan(space, visits=8), SHEET, bench, 60, tmp_path)
    (seen,) = found.evidence.calibrations
    assert found.evidence.complete and len(seen.held_out) == len(seen.fitted_on) == 20
    assert (seen.parts_measured, seen.parts_fitted, seen.fit_error) == (275, 0, None)
    assert seen.mape <= 0.05 and seen.within_10 >= 0.9 and seen.spearman >= 0.98
    assert {n.key for n in seen.held_out}.isdisjoint(n.key for n in seen.fitted_on)
    table = load_table(found.path, space).block_table(ONE[0])
    genes = space.sample(np.random.default_rng(7), 500)
    usual = table.predict(genes).ms / [bench.network_ms(a) for a in space.decode(genes)]
    # the machine's usual speed is some constant faster or slower than its mean
    assert np.abs(usual / np.median(usual) - 1).mean() <= 0.05
    assert seen.high >= seen.swing > 0  # whoever measures later meets any of its moods
    assert hidden(tmp_path) == []


def test_without_the_reference_the_machine_s_moods_remain(tmp_path, monkeypatch):
    """What the scaling is for: the same samples taken as they are miss the goal."""
    at_hand = run(plan(visits=12), SHEET, FakePartTimer(drift=0.9), 60, tmp_path)
    monkeypatch.setattr(fit, "normalise_speed", lambda ref: (1.0, np.ones(len(ref)), 0.0))
    plain = run(plan(visits=12), SHEET, FakePartTimer(drift=0.9), 60, tmp_path)
    scaled_mape, plain_mape = (f.evidence.calibrations[0].mape for f in (at_hand, plain))
    assert scaled_mape <= 0.05 and plain_mape > 2 * scaled_mape


def test_a_gpu_s_launches_count_in_eager_mode_only(tmp_path):
    bench = FakePartTimer(on_gpu=True, drift=0.05)
    both = (Conditions(), Conditions(mode="graph"))
    found = run(plan(conditions=both, visits=12), SHEET, bench, 60, tmp_path)
    table = load_table(found.path, SMALL)
    eager, graph = (table.block_table(c) for c in both)
    assert eager.host_ms is not None and graph.host_ms is None
    assert found.evidence.calibrations[0].mape <= 0.05


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run, and how many chains it measured."""
    timer = FakePartTimer()
    result = run(plan(), SHEET, timer, 60, tmp_path_factory.mktemp("whole"))
    return result, timer.chains


@pytest.mark.parametrize("kill_at", [0, 40])
def test_a_killed_run_goes_on_to_the_same_table(tmp_path, whole, kill_at):
    parts, (expected, chains) = tmp_path / "parts", whole
    bench = FakePartTimer()
    bench.kill_at = kill_at
    with pytest.raises(Killed):
        run(plan(), SHEET, bench, 60, parts)
    (left,) = parts.glob(".*.jsonl")
    left.write_bytes(left.read_bytes() + b'{"c":0,"net":3,"ms":0.0')  # the line it died in
    bench.kill_at = None
    found = run(plan(), SHEET, bench, 60, parts)
    assert found.path.read_text() == expected.path.read_text()
    assert found.evidence.calibrations == expected.evidence.calibrations
    assert bench.chains == chains and hidden(parts) == []


def test_another_calibration_starts_afresh(tmp_path):
    bench = FakePartTimer()
    bench.kill_at = 30
    with pytest.raises(Killed):
        run(plan(), SHEET, bench, 60, tmp_path)
    other = run(plan(seed=1), SHEET, FakePartTimer(), 60, tmp_path)
    clean = run(plan(seed=1), SHEET, FakePartTimer(), 60, tmp_path / "clean")
    assert other.path.read_text() == clean.path.read_text()
    assert len(list(tmp_path.glob(".*.jsonl"))) == 1  # the killed one can still go on


def test_when_time_is_up_the_table_says_what_was_fitted(tmp_path):
    space, bench = SMALL, FakePartTimer(drift=0.05)
    found = run(plan(), SHEET, bench, 0.0007, tmp_path)
    (seen,) = found.evidence.calibrations
    total = len(plan().index.parts)
    assert not found.evidence.complete
    assert 0 < seen.parts_fitted == total - seen.parts_measured and seen.fit_error > 0
    text = found.path.read_text()
    assert text.count(",fitted,") == seen.parts_fitted
    assert text.count(",measured,") == seen.parts_measured
    latency = (
        load_table(found.path, space)
        .block_table(ONE[0])
        .predict(space.sample(np.random.default_rng(0), 50))
    )
    widths = np.log(latency.high / latency.ms)
    assert (widths >= seen.high - 1e-9).all() and widths.max() > seen.high


def test_the_cap_counts_what_a_killed_run_measured(tmp_path):
    bench = FakePartTimer()
    bench.kill_at = 40
    with pytest.raises(Killed):
        run(plan(visits=500), SHEET, bench, 60, tmp_path)
    spent = bench.now
    bench.kill_at = None
    run(plan(visits=500), SHEET, bench, 2 * spent / 60, tmp_path)
    assert bench.now == pytest.approx(2 * spent, rel=0.1)


def test_too_little_time_is_an_error_and_keeps_the_samples(tmp_path):
    with pytest.raises(MeasurementError, match="--minutes"):
        run(plan(), SHEET, FakePartTimer(), 0.0, tmp_path)
    assert len(hidden(tmp_path)) == 1 and not table_path(tmp_path, SHEET.key, SMALL).exists()


def test_a_full_disk_keeps_what_was_measured(tmp_path, monkeypatch, whole):
    (expected, _), flushes = whole, []

    def fsync(descriptor):  # after each 16 lines
        flushes.append(descriptor)
        if len(flushes) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(StoreError, match="No space left"):
        run(plan(), SHEET, FakePartTimer(), 60, tmp_path)
    monkeypatch.undo()
    (left,) = tmp_path.glob(".*.jsonl")
    assert len(left.read_bytes().splitlines()) == 48
    left.write_bytes(left.read_bytes() + b'{"c":0,"ch')
    timer = FakePartTimer()
    found = run(plan(), SHEET, timer, 60, tmp_path)
    seen, wanted = found.evidence.calibrations[0], expected.evidence.calibrations[0]
    assert seen.parts_measured == wanted.parts_measured and timer.now > 0
    assert all(n.samples >= 4 for n in seen.held_out)


def test_default_conditions_are_those_of_the_kind_of_device():
    assert conditions_of(SHEET) == ONE
    gpu = conditions_of(SHEET.model_copy(update={"kind": "gpu"}))
    assert len(gpu) == 3 * 2 * 2 and {c.threads for c in gpu} == {None}
    with pytest.raises(MeasurementError, match="compile"):
        conditions_of(SHEET, modes=["compile"])


def test_this_machine_can_be_calibrated(tmp_path):
    """For real: few visits of a small space; figures of a busy machine are not judged."""
    bench, small = TorchPartTimer("cpu"), plan(visits=1)
    small = replace(small, networks=small.networks[:8])
    found = run(small, SHEET, bench, 10, tmp_path)
    (seen,) = found.evidence.calibrations
    assert seen.parts_measured == len(small.index.parts) and len(seen.held_out) == 4
    assert seen.factor > 0 and seen.fixed_ms >= 0
