"""The loop of measuring, on a clock that only the calls move."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from smt_nas.errors import MeasurementError
from smt_nas.profilers.latency.measurement import WatchReport
from smt_nas.profilers.latency.sampling import Limits, interleave, measure
from tests.fakes.clock import FakeClock, FakeRunnable, FakeWatcher, Noise


def run(call, limits=Limits(), watcher=None):  # noqa: B008
    return measure(call, limits, clock=call.clock, watcher=watcher or FakeWatcher())


def gpu_call(clock, ms=5.0, noise=None, launch_ms=0.1, **conditions):
    return FakeRunnable(clock, ms, noise, device="cuda:0", launch_ms=launch_ms, **conditions)


def test_a_quiet_network_is_measured_in_the_least_time():
    call = FakeRunnable(FakeClock(), 20.0)
    found = run(call)
    assert set(found.wall_ms) == {20.0}
    assert (found.wall.n, found.stopped_by, found.steady, found.status) == (50, "ci", True, "ok")
    assert (found.device_ms, found.on_device, found.launch_bound) == (None, None, None)
    assert (found.name, found.device, found.conditions) == ("net", "cpu", call.conditions)
    assert found.watched == {"seen": True, "threads": 1}


def test_the_first_call_and_the_warm_up_are_in_no_sample():
    call = FakeRunnable(FakeClock(), 20.0)
    call.slow_start = 10
    found = run(call)
    assert found.first_call_ms == 400.0
    assert set(found.wall_ms) == {20.0}
    assert found.warmup_s == pytest.approx(0.6)  # until the slow ones are a minority of a third


def test_a_change_after_the_warm_up_is_a_drift():
    call = FakeRunnable(FakeClock(), 20.0)
    call.slow_start = 35
    found = run(call)
    assert found.steady
    assert (found.status, found.wall.drift) == ("drifting", -0.5)


def test_it_warms_up_for_the_time_asked_for_although_steady():
    found = run(FakeRunnable(FakeClock(), 1.0), Limits(warmup_s=3.0))
    assert (found.steady, found.warmup_s) == (True, pytest.approx(3.0))


def test_a_warm_up_that_never_gets_steady_ends_at_its_cap_and_says_so():
    found = run(
        FakeRunnable(FakeClock(), 20.0, Noise(0, drift=0.4, burst=1)), Limits(warmup_cap_s=2.0)
    )
    assert not found.steady
    assert found.warmup_s == pytest.approx(2.0, abs=0.1)
    assert found.status == "drifting"
    assert "not steady after 2 s of warm-up" in found.reasons


def test_without_a_warm_up_a_few_samples_say_nothing_of_a_drift():
    few = Limits(seconds=0.1, samples=3, min_s=0, warmup_s=0)
    found = run(FakeRunnable(FakeClock(), 50.0), few)
    assert (found.status, found.steady) == ("unknown", False)
    assert found.reasons == ("no warm-up, and too few samples to see a drift",)
    assert run(FakeRunnable(FakeClock(), 20.0), Limits(warmup_s=0)).status == "ok"


def test_noise_is_sampled_until_the_interval_is_narrow():
    calm = run(FakeRunnable(FakeClock(), 20.0, Noise(0, jitter=0.01)))
    wild = run(FakeRunnable(FakeClock(), 20.0, Noise(0, jitter=0.06)))
    for found in (calm, wild):
        s = found.wall
        assert found.stopped_by == "ci"
        assert (s.high_ms - s.low_ms) / 2 <= 0.01 * s.median_ms
    assert calm.wall.n < wild.wall.n


def test_a_gpu_is_held_to_half_a_percent():
    found = run(gpu_call(FakeClock(), noise=Noise(0, drift=0, burst=1, jitter=0.02)))
    for s in (found.wall, found.on_device):
        assert (s.high_ms - s.low_ms) / 2 <= 0.005 * s.median_ms


def test_the_time_cap_ends_what_stays_wide():
    clock = FakeClock()
    found = run(FakeRunnable(clock, 20.0, Noise(0, jitter=0.5)), Limits(seconds=3))
    assert found.stopped_by == "time cap"
    assert 3000 <= sum(found.wall_ms) < 3200
    s = found.wall
    assert (s.high_ms - s.low_ms) / 2 > 0.01 * s.median_ms


def test_a_slow_network_gives_what_the_cap_allows():
    found = run(FakeRunnable(FakeClock(), 4000.0))
    assert (found.wall.n, found.stopped_by) == (3, "time cap")


def test_fast_calls_take_turns_of_ten_milliseconds():
    found = run(FakeRunnable(FakeClock(), 0.5))
    assert found.per_round == 20
    assert found.wall.n % 20 == 0
    assert sum(found.wall_ms) >= 1000.0


def test_device_and_wall_time_stand_apart_on_a_gpu():
    found = run(gpu_call(FakeClock(), ms=5.0, launch_ms=0.1))
    assert found.device_ms == pytest.approx([5.0] * found.wall.n)
    assert found.wall_ms == pytest.approx([5.1] * found.wall.n)
    assert (found.launch_bound, found.per_round) == (False, 9)
    assert len(found.device_ms) == len(found.wall_ms)
    assert "threads" not in found.watched


def test_a_gpu_that_waits_for_its_cpu_is_launch_bound():
    found = run(gpu_call(FakeClock(), ms=1.0, launch_ms=3.0))
    assert found.launch_bound is True
    assert found.wall.median_ms == pytest.approx(4.0)


def test_submitting_tells_that_a_gpu_waits_where_its_events_hold_the_waits():
    """Events of calls that are queued slower than they run are as far apart as the calls."""
    found = run(gpu_call(FakeClock(), ms=0.5, launch_ms=4.0))
    assert np.median(found.submit_ms) == pytest.approx(4.0)
    events = replace(found, device_ms=found.wall_ms)
    assert events.launch_bound is True
    assert replace(events, submit_ms=None).launch_bound is False  # files of before


def test_two_speeds_are_not_ok():
    clock = FakeClock()
    call = FakeRunnable(clock, 8.0, noise=TwoSpeeds())
    found = run(call)
    assert found.status in ("drifting", "unsteady")
    assert any("apart" in reason for reason in found.reasons)


class TwoSpeeds:
    """A host that is at times half as fast, as that of a rented GPU was."""

    def factor(self, now_ms):
        return 1.0 if int(now_ms / 100) % 2 else 1.9


@pytest.mark.parametrize("ms", [0.05, 1.0, 30.0, 70.0])
def test_the_queue_runs_no_further_ahead_than_a_tenth_of_a_second(ms):
    clock = FakeClock()
    run(gpu_call(clock, ms=ms, launch_ms=0.001))
    assert ms <= clock.longest_queue_ms <= 100.0


def test_nothing_waits_between_marks():
    clock = FakeClock()
    call = gpu_call(clock)
    found = run(call)
    rounds = found.wall.n // found.per_round
    # one wait after the queued calls of a turn, and one after each of the others
    waited = call.calls - found.wall.n - rounds  # less those between marks and those that lead in
    assert clock.waits == 1 + waited + rounds  # the first call is waited for too


@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
def test_a_call_that_fails_midway_keeps_its_samples(device):
    call = FakeRunnable(FakeClock(), 20.0, device=device)
    call.fails_at = 70, torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2 GiB")
    watcher = FakeWatcher()
    found = run(call, watcher=watcher)
    assert found.stopped_by == "OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB"
    assert found.status == "unknown"
    assert found.reasons == (
        "ended by OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB",
    )
    assert 0 < found.wall.n < 70
    assert (watcher.started, watcher.stopped) == (1, 1)


@pytest.mark.parametrize("at", [1, 5, 26])  # in the warm-up, and at the first sample
def test_a_call_that_fails_before_the_first_sample_is_told_in_one_line(at):
    call = FakeRunnable(FakeClock(), 20.0, batch=8)
    call.fails_at = at, torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2 GiB")
    watcher = FakeWatcher()
    with pytest.raises(MeasurementError) as raised:
        run(call, watcher=watcher)
    assert str(raised.value) == (
        "net: must run on cpu as b8 fp32 eager 1 thread "
        "(got OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB). "
        "Use a smaller batch or image, or another precision."
    )
    assert watcher.started == watcher.stopped


def test_what_a_network_raises_itself_is_told_too():
    call = FakeRunnable(FakeClock(), 20.0)
    call.fails_at = 1, ValueError()
    with pytest.raises(MeasurementError, match=r"got ValueError\)\. `--debug`"):
        run(call)
    call.fails_at = 1, MeasurementError("net: said in our own words.")
    with pytest.raises(MeasurementError, match=r"^net: said in our own words\.$"):
        run(call)


def test_threads_are_those_asked_for_and_then_as_before():
    before = torch.get_num_threads()
    seen = []

    class Threaded(FakeRunnable):
        def __call__(self):
            seen.append(torch.get_num_threads())
            super().__call__()

    run(Threaded(FakeClock(), 20.0, threads=before + 1))
    assert set(seen) == {before + 1}
    assert torch.get_num_threads() == before
    failing = Threaded(FakeClock(), 20.0, threads=before + 1)
    failing.fails_at = 1, RuntimeError("no")
    with pytest.raises(MeasurementError):
        run(failing)
    assert torch.get_num_threads() == before


def test_samples_that_waited_for_a_cpu_are_flagged_and_kept():
    call = FakeRunnable(FakeClock(), 20.0)
    call.busy = 0.8
    found = run(call)
    assert found.flagged == tuple(range(found.wall.n))
    assert found.status == "loaded"
    assert found.reasons == ("100% of the samples were taken while others ran",)


def test_few_flagged_samples_do_not_spoil_the_rest():
    class Starved(FakeRunnable):
        def __call__(self):
            self.busy = 0.5 if self.calls == 40 else 1.0
            super().__call__()

    found = run(Starved(FakeClock(), 20.0))
    assert len(found.flagged) == 1
    assert found.status == "ok"


def test_of_several_threads_not_all_need_be_busy():
    call = FakeRunnable(FakeClock(), 20.0, threads=4)
    call.busy = 2.6  # of 4: parts of a network run on one
    assert run(call).flagged == ()


def test_rounds_in_which_others_ran_are_flagged():
    found = run(FakeRunnable(FakeClock(), 20.0), watcher=FakeWatcher(loaded=[False, True, False]))
    assert found.flagged == tuple(range(25, 50))  # the second half second
    assert found.status == "loaded"


def test_the_worst_of_what_was_seen_is_the_status():
    seen = [("unknown", "no clocks"), ("throttled", "sw-power-cap"), ("loaded", "others")]
    found = run(FakeRunnable(FakeClock(), 20.0), watcher=FakeWatcher(seen))
    assert found.status == "throttled"
    assert found.reasons == ("no clocks", "sw-power-cap", "others")
    assert run(FakeRunnable(FakeClock(), 20.0), watcher=FakeWatcher(seen[:1])).status == "unknown"


def test_a_drift_is_seen():
    found = run(FakeRunnable(FakeClock(), 20.0, Noise(0, drift=0.02, burst=1)), Limits(min_s=5))
    assert found.status == "drifting"
    assert found.wall.drift > 0.02


def test_work_is_given_in_cycles_where_the_clock_is_known():
    class Clocked(FakeWatcher):
        def stop(self):
            return WatchReport((), {"sm_mhz": 1400.0})

    found = run(gpu_call(FakeClock(), ms=5.0), watcher=Clocked())
    assert found.watched["sm_kilocycles"] == pytest.approx(7000)


def test_samples_are_checked_ever_more_rarely(monkeypatch):
    checks = []

    def wide(samples):
        checks.append(len(samples))
        return 1.0

    monkeypatch.setattr("smt_nas.profilers.latency.sampling.half_width", wide)
    run(FakeRunnable(FakeClock(), 20.0), Limits(seconds=60))
    assert checks[0] == 50
    assert len(checks) < 25  # of 3000 samples
    assert all(b >= 1.2 * a for a, b in pairwise(checks))


def test_the_real_clock_times_a_real_call():
    a = torch.randn(64, 64)

    class Product(FakeRunnable):
        def first(self):
            self()

        def __call__(self):
            torch.mm(a, a)

    limits = Limits(seconds=0.2, min_s=0.05, warmup_s=0.02, warmup_cap_s=0.1)
    found = measure(Product(None, 1.0), limits)
    assert 0 < found.wall.min_ms <= found.wall.median_ms
    assert found.started.endswith("+00:00")
    assert found.first_call_ms > 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_real_gpu_is_timed_by_its_events():
    a = torch.randn(2048, 2048, device="cuda")

    class Product(FakeRunnable):
        def first(self):
            self()

        def __call__(self):
            torch.mm(a, a)

    found = measure(Product(None, 1.0, device="cuda:0"), Limits(seconds=2))
    assert 0 < found.on_device.median_ms <= found.wall.median_ms * 1.05
    assert found.watched["readings"] > 10
    assert found.watched["sm_mhz"] is not None or found.status in ("unknown", "throttled")


def take_turns_until_close(*calls, reference=0):
    limits = Limits(60, 9, close_samples=6, min_s=0, precision=0.5, warmup_s=0)
    clock = calls[0].clock
    return interleave(calls, limits, reference=reference, clock=clock, watcher=FakeWatcher())


def test_a_steady_network_takes_fewer_turns_and_is_ok():
    clock = FakeClock()
    steady = take_turns_until_close(*(FakeRunnable(clock, ms) for ms in (20.0, 40.0)))
    assert [m.wall.n for m in steady] == [6, 6]
    assert [m.status for m in steady] == ["ok", "ok"]
    assert [m.stopped_by for m in steady] == ["ci", "ci"]


def test_a_network_that_is_not_steady_takes_all_turns_beside_the_reference():
    clock = FakeClock()
    calls = [
        FakeRunnable(clock, 20.0),
        FakeRunnable(clock, 30.0),
        FakeRunnable(clock, 40.0, Noise(0, jitter=0.05)),
    ]
    steady, reference, noisy = take_turns_until_close(*calls, reference=1)
    assert (steady.wall.n, reference.wall.n, noisy.wall.n) == (6, 10, 10)


def test_a_drift_keeps_a_network_under_the_clock_and_is_told():
    drifting = Noise(0, drift=0.2, jitter=0.001, burst=1, tail=0)
    [found] = take_turns_until_close(FakeRunnable(FakeClock(), 40.0, drifting))
    assert found.wall.n == 10
    assert found.status == "drifting"


@pytest.mark.parametrize(("ms", "warmup_calls", "per_turn"), [(0.4, 1, 25), (40.0, 0, 1)])
def test_without_a_warm_up_only_short_calls_are_tried_to_plan_a_turn(ms, warmup_calls, per_turn):
    call = FakeRunnable(FakeClock(), ms)
    found = run(call, Limits(samples=9, min_s=0, warmup_s=0, precision=0.5))
    assert call.calls == found.wall.n + warmup_calls
    assert found.per_round == per_turn
