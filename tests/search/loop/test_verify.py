"""Verification, with counters and clocks that are told what to say."""

import pytest

from smt_nas.errors import MeasurementError
from smt_nas.profilers import count_check
from smt_nas.profilers.latency.sampling import interleave
from smt_nas.runtime.engines.engine_choice import make_engine
from smt_nas.search.loop import verify
from smt_nas.search.loop.listener import NullSearchProgress
from smt_nas.search.loop.verify import verify_networks
from smt_nas.search.results.results import make_result, select_front
from smt_nas.search.storage.study import Study
from smt_nas.search.storage.study_notes import Timing
from tests.fakes import devices as fakes
from tests.fakes.clock import FakeClock, FakeRunnable, FakeWatcher, Noise
from tests.fakes.searches import make_baselines, make_problem, make_trials, sample

OK = count_check.CountCheck({"torch": 1, "fvcore": 1, "thop": 1}, None)


class Steps(NullSearchProgress):
    """Keeps the last step of each phase."""

    def __init__(self):
        self.last = {}

    def step(self, phase, done, total):
        self.last[phase] = (done, total)


@pytest.fixture
def problem(monkeypatch):
    fakes.install(monkeypatch)
    return make_problem(objectives=("macs", "latency"))


@pytest.fixture
def study(problem, tmp_path):
    return Study.create_file(problem, tmp_path / "study.db", "s", {})


@pytest.fixture
def members(problem):
    return select_front(problem, make_trials(problem, sample(8)))


@pytest.fixture
def rig(monkeypatch):
    """What is counted and timed, by key; `broken` cannot be counted, `large` cannot be timed."""
    seen = {"counted": [], "timed": [], "broken": set(), "large": set()}

    def check_counts(arch):
        seen["counted"].append(arch.key)
        return count_check.CountCheck({}, "broke") if arch.key in seen["broken"] else OK

    def measure_group(group, reference, target):
        assert reference.name == "smt_t"
        if seen["large"] & {r.arch.key for r in group}:
            raise MeasurementError("too large.")
        seen["timed"] += [r.arch.key for r in group]
        return [Timing(latency_ms=1.0, spread_ms=0.1, samples=9, status="ok") for _ in group]

    monkeypatch.setattr(count_check, "check_counts", check_counts)
    monkeypatch.setattr(verify, "measure_group", measure_group)
    return seen


def run(study, members):
    listener = Steps()
    with make_engine(1) as engine:
        verify_networks(study, members, make_baselines(study.problem), listener, engine)
    return listener.last, study.read_notes()


def test_members_and_presets_are_counted_and_timed_once(study, members, rig):
    everyone = {r.arch.key for r in (*members, *make_baselines(study.problem))}
    steps, notes = run(study, members)
    assert steps == {"count": (len(everyone),) * 2, "time": (len(everyone),) * 2}
    assert set(rig["counted"]) == set(rig["timed"]) == everyone
    targets = study.problem.local_targets
    assert all(notes.read_verification(key, targets).is_complete(targets) for key in everyone)
    steps, _ = run(study, members)
    assert steps == {"count": (0, 0), "time": (0, 0)}
    assert len(rig["counted"]) == len(rig["timed"]) == len(everyone)


def test_a_network_that_fails_is_not_timed(study, members, rig):
    rig["broken"].add(members[0].arch.key)
    _, notes = run(study, members)
    assert notes.failed_keys == {members[0].arch.key}
    assert members[0].arch.key not in rig["timed"]


def test_the_reference_takes_its_turn_in_the_middle_and_every_row_is_its_share(
    problem, monkeypatch
):
    clock, order, stays = FakeClock(), [], []

    def prepare(network, conditions, device):
        order.append(network.name)
        slow = Noise(0, burst=3.0)
        return FakeRunnable(clock, 10.0 + len(order), slow, name=network.name)

    def take_turns(calls, limits, **place):
        stays.append(calls[place["reference"]].name)
        return interleave(calls, limits, **place, clock=clock, watcher=FakeWatcher())

    monkeypatch.setattr("smt_nas.profilers.latency.prepare.prepare", prepare)
    monkeypatch.setattr("smt_nas.profilers.latency.sampling.interleave", take_turns)
    (target,) = problem.local_targets
    reference = next(r for r in make_baselines(problem) if r.name == "smt_t")
    archs = problem.space.decode(sample(3))
    group = [*(make_result(problem, str(i), a, None, {}) for i, a in enumerate(archs)), reference]
    timings = verify.measure_group(group, reference, target)
    assert stays == [reference.arch.key]
    assert order.index(reference.arch.key) == 1 and len(order) == 4
    shares = [(10.0 + order.index(r.arch.key) + 1) / 12.0 for r in group]
    assert [t.versus for t in timings] == pytest.approx(shares, rel=0.06)
    assert timings[-1].versus == 1.0
    assert len({t.reference_ms for t in timings}) == 1


def test_one_that_cannot_be_timed_spares_its_group(study, members, rig):
    rig["large"].add(members[0].arch.key)
    _, notes = run(study, members)
    targets = study.problem.local_targets
    (reason,) = notes.read_verification(members[0].arch.key, targets).timing_failures.values()
    assert reason == "too large."
    assert {r.arch.key for r in members[1:]} <= set(rig["timed"])
