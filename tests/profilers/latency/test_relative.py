"""A network beside a reference: the ratio stays, whatever the machine is busy with."""

from dataclasses import replace

import pytest

from smt_nas.profilers.latency.relative import compare_with_reference
from smt_nas.profilers.latency.sampling import Limits, interleave
from tests.fakes.clock import FakeClock, FakeRunnable, FakeWatcher, Noise

FEW = Limits(1.5, 9, min_s=0, precision=0.5, warmup_s=0)


class Slow:
    """A machine that is so much slower all the time."""

    def __init__(self, factor):
        self._factor = factor

    def factor(self, now_ms):
        return self._factor


def measured(noise, ms=60.0, reference_ms=40.0, busy=1.0):
    clock = FakeClock()
    calls = [FakeRunnable(clock, x, noise, name=str(x)) for x in (ms, reference_ms)]
    for call in calls:
        call.busy = busy
    return interleave(calls, FEW, clock=clock, watcher=FakeWatcher())


def test_like_networks_are_alike_on_a_quiet_and_on_a_slow_machine():
    quiet, slow = (compare_with_reference(*measured(Slow(f))) for f in (1.0, 2.9))
    assert slow.ms == pytest.approx(2.9 * quiet.ms)
    assert slow.ratio == pytest.approx(quiet.ratio) == pytest.approx(1.5)
    assert slow.reference_ms == pytest.approx(116.0)


@pytest.mark.parametrize("seed", range(5))
def test_bursts_and_tails_leave_the_ratio(seed):
    found = compare_with_reference(*measured(Noise(seed, burst=3.0)))
    assert found.ratio == pytest.approx(1.5, rel=0.05)


def test_a_call_that_waits_for_a_cpu_counts_by_its_cpu_time():
    [network, reference] = measured(Slow(1.0))
    starved = [ms * (3 if i % 2 else 1) for i, ms in enumerate(network.wall_ms)]
    found = compare_with_reference(replace(network, wall_ms=tuple(starved)), reference)
    assert found.ratio == pytest.approx(1.5)


def test_cpu_times_are_in_no_file():
    [network, _] = measured(Slow(1.0))
    assert network.cpu_ms is not None and "cpu_ms" not in network.to_dict()
