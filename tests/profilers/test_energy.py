"""Energy: windows under a meter, idle apart, and a reason wherever there is no figure."""

import time

import pytest

from smt_nas.profilers import energy as energy_module
from smt_nas.profilers.energy import (
    GpuCounter,
    GpuPower,
    Windows,
    gpu_meter,
    measure_energy,
    meter_energy,
)
from smt_nas.runtime.nvml import Unavailable, open_gpu
from tests.fakes import nvml
from tests.fakes.clock import FakeClock, FakeRunnable
from tests.fakes.waiting import wait_until

IDLE_W, BUSY_W = 60.0, 260.0


class FakeMeter:
    """Counts idle power at all times, and what a call takes beside."""

    what = "a meter"

    def __init__(
        self, clock, call_mj=0.0, call=None, dies_at_ms=None, step_mj=1.0, estimated=False
    ):
        self.estimated = estimated
        self.clock, self.call, self.call_mj = clock, call, call_mj
        self.dies_at_ms, self.step_mj, self.closed = dies_at_ms, step_mj, False

    def read_mj(self):
        if self.dies_at_ms is not None and self.clock.now_ms >= self.dies_at_ms:
            return None
        mj = self.clock.now_ms * IDLE_W + self.call.calls * self.call_mj
        return mj // self.step_mj * self.step_mj

    def celsius(self):
        return 41.0

    def close(self):
        self.closed = True


def metered(device="cuda:0", ms=10.0, batch=1, call=None, **meter):
    clock = FakeClock()
    call = call or FakeRunnable(clock, ms, device=device, batch=batch)
    call.clock = clock
    found = meter_energy(
        call,
        FakeMeter(clock, ms * (BUSY_W - IDLE_W), call, **meter),
        clock=clock,
        sleep=lambda s: clock.pass_ms(s * 1e3, busy=0),
    )
    return found, clock, call


@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
@pytest.mark.parametrize("batch", [1, 64])
def test_energy_of_an_image_is_power_times_time_over_the_batch(device, batch):
    found, clock, call = metered(device, 10.0, batch)
    assert len(found.per_image_mj) == 3
    assert found.per_image_mj == pytest.approx([10.0 * BUSY_W / batch] * 3, rel=0.02)
    assert found.power_w == pytest.approx(BUSY_W, rel=0.02)
    assert found.idle_w == pytest.approx(IDLE_W, rel=1e-3)
    assert clock.now_ms >= 8000  # idle, and three windows of 2 s
    assert call.calls >= 600
    assert found.reading.value == pytest.approx(10.0 * BUSY_W / batch, rel=0.02)
    assert found.reading.status == "ok"
    assert "60 W idle" in found.reading.reason
    assert "std" in found.reading.reason


def test_a_queue_stays_short():
    _, clock, _ = metered(ms=1.0)
    assert clock.longest_queue_ms < 250
    assert clock.waits < 200  # and is seldom waited for


def test_a_counter_of_large_steps_is_read_over_long_windows():
    found, _, _ = metered(step_mj=BUSY_W * 100)  # moves every 100 ms under load
    assert found.per_image_mj == pytest.approx([10.0 * BUSY_W] * 3, rel=0.06)


def test_a_frozen_counter_is_no_energy_of_zero():
    found, _, _ = metered(step_mj=1e12)
    assert found == Unavailable("the energy counter does not move")


def test_what_was_metered_before_the_gpu_fell_off_is_kept():
    found, _, _ = metered(dies_at_ms=7000)
    assert len(found.per_image_mj) == 2
    assert found.ended_by == "the energy counter stopped answering"
    assert found.reading.status == "unknown"
    assert "stopped answering" in found.reading.reason
    assert metered(dies_at_ms=3000)[0] == Unavailable("the energy counter stopped answering")


def test_a_call_that_fails_ends_it():
    clock = FakeClock()
    call = FakeRunnable(clock, 10.0, device="cuda:0")
    call.fails_at = 300, RuntimeError("CUDA error:\nunspecified launch failure")
    found, _, _ = metered(call=call)
    assert len(found.per_image_mj) == 1
    assert found.std_mj is None
    assert found.ended_by == "RuntimeError: CUDA error: unspecified launch failure"
    assert found.reading.low is None


def test_windows_say_how_long():
    clock = FakeClock()
    call = FakeRunnable(clock, 10.0)
    found = meter_energy(
        call,
        FakeMeter(clock, 1.0, call),
        Windows(window_s=0.5, windows=5, idle_s=0.1),
        clock=clock,
        sleep=lambda s: clock.pass_ms(s * 1e3),
    )
    assert len(found.per_image_mj) == 5
    assert clock.now_ms == pytest.approx(2600, rel=0.05)


def test_the_best_meter_of_a_gpu():
    assert isinstance(gpu_meter(open_gpu(nvml=nvml.FakeNvml())), GpuCounter)
    sliced = gpu_meter(open_gpu(nvml=nvml.mig_slice()))
    assert isinstance(sliced, Unavailable)
    assert "slices" in sliced.reason
    blind = nvml.FakeNvml(nvml.GpuState(energy_mj=None, power_mw=None))
    assert isinstance(gpu_meter(open_gpu(nvml=blind)), Unavailable)


def test_an_estimate_is_said_to_be_one():
    found, _, _ = metered(estimated=True)
    assert found.estimated and found.reading.status == "unknown"
    assert "estimated from a meter" in found.reading.reason


def test_without_a_counter_the_power_is_summed():
    start = time.perf_counter()
    state = nvml.GpuState(energy_mj=None, power_mw=250_000)
    meter = gpu_meter(open_gpu(nvml=nvml.FakeNvml(state)))
    assert isinstance(meter, GpuPower) and meter.estimated
    try:
        wait_until(lambda: meter.read_mj() > 0)
        first = meter.read_mj()
        wait_until(lambda: meter.read_mj() > first)
    finally:
        meter.close()
    assert meter.read_mj() <= 250e3 * (time.perf_counter() - start)


def test_power_that_cannot_be_asked_any_more_is_no_sum():
    state = nvml.GpuState(energy_mj=None)
    meter = GpuPower(open_gpu(nvml=nvml.FakeNvml(state)))
    state.power_mw = None
    wait_until(lambda: meter.read_mj() is None)
    meter.close()


def test_no_meter_is_a_figure_with_its_reason(monkeypatch):
    call = FakeRunnable(FakeClock(), 1.0)
    monkeypatch.setattr(energy_module, "meter_of", lambda device: Unavailable("there is none."))
    found = measure_energy(call)
    assert (found.value, found.reason, found.status) == (None, "there is none", "unknown")
    assert call.calls == 0
