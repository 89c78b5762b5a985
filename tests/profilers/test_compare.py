"""Networks in turns, and what the verdict says of them."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from smt_nas.errors import MeasurementError
from smt_nas.profilers.compare import verdict
from smt_nas.profilers.latency.sampling import Limits, interleave, measure
from tests.fakes.clock import FakeClock, FakeRunnable, FakeWatcher, Noise, Quiet

MACHINES = {  # device, milliseconds a call, noise
    "cpu": ("cpu", 20.0, {}),
    "shared cpu": ("cpu", 50.0, {"burst": 2.0, "jitter": 0.03, "tail": 0.05}),
    "slow network on a cpu": ("cpu", 200.0, {}),
    "gpu": ("cuda:0", 5.0, {"burst": 1.1, "jitter": 0.01, "tail": 0.02}),
}


def in_turns(*calls, limits=Limits(), on_round=None):  # noqa: B008
    clock = calls[0].clock
    return interleave(calls, limits, on_round, clock=clock, watcher=FakeWatcher())


def pair(seed, ratio, device="cpu", ms=20.0, noise=None, limits=Limits()):  # noqa: B008
    clock = FakeClock()
    shared = Noise(seed, **(noise or {}))
    a = FakeRunnable(clock, ms, shared, "a", device)
    b = FakeRunnable(clock, ms * ratio, shared, "b", device)
    return in_turns(a, b, limits=limits)


def words(machine, ratio, runs=30):
    device, ms, noise = MACHINES[machine]
    found = (pair(seed, ratio, device, ms, noise) for seed in range(runs))
    return Counter(verdict(*measured).word for measured in found)


@pytest.mark.parametrize("machine", MACHINES)
def test_a_network_is_the_same_as_itself(machine):
    assert words(machine, 1.0)["SAME"] >= 28


@pytest.mark.parametrize("machine", MACHINES)
def test_five_percent_are_found(machine):
    assert words(machine, 1.05)["SLOWER"] >= 28


def test_five_percent_less_are_found_too():
    assert words("cpu", 0.95)["FASTER"] >= 28


def test_on_a_cpu_no_difference_under_the_margin_is_claimed():
    found = words("cpu", 1.02, runs=40)
    assert found["SLOWER"] + found["FASTER"] <= 3
    assert words("gpu", 1.02, runs=20)["SLOWER"] >= 19


def test_turns_go_forwards_and_backwards():
    clock, order = FakeClock(), []

    class Told(FakeRunnable):
        def __call__(self):
            order.append(self.name)
            super().__call__()

    calls = [Told(clock, 20.0, name=name) for name in "ABC"]
    found = in_turns(*calls, limits=Limits(samples=4, min_s=0, warmup_s=0, precision=0.5))
    assert "".join(order) == "ABCCBA" * (found[0].wall.n // 2)
    assert [m.name for m in found] == ["A", "B", "C"]


def test_there_is_always_an_even_number_of_rounds_unless_time_is_up():
    a, b = pair(0, 1.0)
    assert (a.stopped_by, a.wall.n % 2) == ("ci", 0)
    assert a.wall.n == b.wall.n


def test_seconds_are_those_of_each_network():
    clock = FakeClock()
    calls = [FakeRunnable(clock, 100.0, Noise(0, jitter=0.5), f"n{i}") for i in range(50)]
    limits = Limits(seconds=0.5, samples=3, min_s=0, warmup_s=0)
    seen = []
    found = in_turns(*calls, limits=limits, on_round=lambda *x: seen.append(x))
    assert {m.stopped_by for m in found} == {"time cap"}
    assert {m.wall.n for m in found} <= {3, 4, 5}
    assert [done for done, _ in seen] == list(range(1, len(seen) + 1))
    assert all(done <= total for done, total in seen)
    assert seen[0][1] in (3, 4, 5, 6)


def test_it_goes_on_until_the_ratio_is_known_too():
    found = pair(0, 1.0, "cuda:0", 5.0, {"burst": 1.0, "jitter": 0.01, "tail": 0.0})
    v = verdict(*found)
    assert (v.high - v.low) / 2 <= 0.0045  # 0.4 %, and what fewer resamples are off by


def test_a_precision_of_ones_own_is_kept_for_the_ratio_too():
    rough = Limits(precision=0.2, min_s=0)
    assert pair(0, 1.0, limits=rough)[0].wall.n < pair(0, 1.0, limits=Limits(min_s=0))[0].wall.n


def test_one_that_fails_midway_leaves_the_others_alone():
    clock = FakeClock()
    calls = [FakeRunnable(clock, 20.0, name=name) for name in "abc"]
    calls[1].fails_at = 40, torch.OutOfMemoryError("CUDA out of memory")
    a, b, c = in_turns(*calls)
    assert (a.status, c.status, a.stopped_by) == ("ok", "ok", "ci")
    assert (b.status, b.stopped_by) == ("unknown", "OutOfMemoryError: CUDA out of memory")
    assert b.wall.n < a.wall.n == c.wall.n
    assert verdict(a, b).word == "SAME"  # of the rounds that both took


def test_a_gpu_that_falls_off_ends_all_with_what_there_is():
    clock = FakeClock()
    calls = [FakeRunnable(clock, 20.0, name=name, device="cuda:0") for name in "ab"]
    for call in calls:
        call.fails_at = 60, RuntimeError("CUDA error: unspecified launch failure")
    found = in_turns(*calls)
    assert {m.stopped_by for m in found} == {"RuntimeError: CUDA error: unspecified launch failure"}
    assert all(m.wall.n == len(m.device_ms) > 0 for m in found)


def test_one_that_never_ran_is_an_error_that_names_it():
    clock = FakeClock()
    calls = [FakeRunnable(clock, 20.0, name=name) for name in "ab"]
    calls[1].fails_at = 1, RuntimeError("no")
    with pytest.raises(MeasurementError, match=r"^b: must run on cpu .*RuntimeError: no"):
        in_turns(*calls)


def test_nothing_to_measure_and_two_devices():
    assert interleave([]) == []
    clock = FakeClock()
    with pytest.raises(MeasurementError, match=r"one device \(got cpu, cuda:0\)"):
        in_turns(FakeRunnable(clock, 1.0), FakeRunnable(clock, 1.0, device="cuda:0"))


def test_a_verdict_has_its_interval_and_repeats_itself():
    a, b = pair(3, 1.05)
    v = verdict(a, b)
    assert v == verdict(a, b)
    assert v.low < v.ratio < v.high
    assert v.ratio == pytest.approx(1.05, abs=0.02)
    assert (v.margin, v.reason) == (0.03, "")
    back = verdict(b, a)
    assert (back.word, back.ratio) == ("FASTER", pytest.approx(1 / v.ratio))


def test_pairs_see_through_what_befalls_both():
    shared = {"drift": 0.05, "burst": 3.0}
    a, b = pair(1, 1.05, noise=shared)
    assert verdict(a, b).word == "SLOWER"
    together = verdict(a, b)
    apart = verdict(a, replace(b, started="another run"))
    assert together.high - together.low < (apart.high - apart.low) / 2


def alone(ratio, seed=0, status="ok", device="cpu"):
    clock = FakeClock()
    clock.now_ms = seed * 1e6  # another moment
    noise = Noise(seed, drift=0, burst=1, jitter=0.005)
    call = FakeRunnable(clock, 20.0 * ratio, noise, device=device)
    return replace(measure(call, clock=clock, watcher=FakeWatcher()), status=status)


@pytest.mark.parametrize(
    ("device", "ratio", "word"),
    [
        ("cpu", 1.0, "SAME"),
        ("cpu", 1.04, "SAME"),
        ("cpu", 1.08, "SLOWER"),
        ("cuda:0", 1.03, "SAME"),
        ("cuda:0", 0.93, "FASTER"),
    ],
)
def test_two_runs_need_a_wider_margin(device, ratio, word):
    found = verdict(alone(1.0, device=device), alone(ratio, seed=1, device=device))
    assert (found.word, found.margin) == (word, 0.05 if device == "cpu" else 0.04)


@pytest.mark.parametrize("status", ["loaded", "throttled", "drifting"])
def test_two_runs_of_which_one_is_spoilt_cannot_be_told_apart(status):
    found = verdict(alone(1.0), alone(1.5, seed=1, status=status))
    assert (found.word, found.reason) == ("UNCLEAR", f"two runs, and net is {status}")
    assert found.ratio == pytest.approx(1.5, abs=0.02)


def test_in_turns_a_loaded_machine_still_gives_a_verdict():
    a, b = (replace(m, status="loaded") for m in pair(0, 1.05))
    assert verdict(a, b).word == "SLOWER"


def test_a_few_rounds_are_no_evidence():
    a, b = (replace(m, wall_ms=m.wall_ms[:5]) for m in pair(0, 1.5))
    found = verdict(a, b)
    assert (found.word, found.reason) == ("UNCLEAR", "fewer than 6 rounds")
    assert found.low < found.ratio < found.high


def test_an_interval_on_both_sides_is_unclear():
    a, b = pair(0, 1.0)
    rng = np.random.default_rng(0)
    wild = tuple(20 * rng.lognormal(0.02, 0.5, a.wall.n))
    found = verdict(a, replace(b, wall_ms=wild))
    assert found.word == "UNCLEAR"
    assert found.reason


def test_unequal_conditions_are_never_compared():
    clock = FakeClock()
    a, b = in_turns(
        FakeRunnable(clock, 20.0, Quiet(), "a"), FakeRunnable(clock, 20.0, name="b", batch=8)
    )
    with pytest.raises(MeasurementError, match="conditions must be equal"):
        verdict(a, b)


class Products(FakeRunnable):
    """A small network of matrix products, for real."""

    def __init__(self, name, products):
        super().__init__(None, 0.0, name=name)
        self.weights = torch.eye(192).repeat(products, 1, 1)

    def first(self):
        self()

    def __call__(self):
        x = self.weights[0]
        for weight in self.weights:
            x = x @ weight


def test_on_this_machine_a_verdict_says_what_its_samples_say():
    """For real; who is faster on a busy machine is no matter of a test."""
    limits = Limits(seconds=0.5, min_s=0.1, warmup_s=0.05, warmup_cap_s=0.2)
    a, b = interleave([Products("a", 4), Products("b", 8)], limits)
    v = verdict(a, b)
    assert a.started == b.started and min(a.wall.n, b.wall.n) > 0
    assert 0 < v.low <= v.ratio <= v.high
    if v.word == "FASTER":
        assert v.high < 1
    if v.word == "SLOWER":
        assert v.low > 1
