"""The sweep over batches: curve, knee, the end of memory, and what stays when something fails."""

import pytest
import torch

from smt_nas.conditions import Conditions
from smt_nas.errors import ConfigError, MeasurementError
from smt_nas.profilers import throughput
from smt_nas.profilers.memory_estimate import DoesNotFit
from smt_nas.profilers.network_loader import Network
from smt_nas.profilers.reading import Reading, unknown
from smt_nas.profilers.throughput import Pace, Point, Sweep, SweepDependencies, parse_batches, sweep
from tests.fakes.clock import FakeClock, FakeRunnable, FakeWatcher

NET = Network("net", "net", None, 224, 3, lambda: torch.nn.Identity())


class FakeMachine:
    """A device whose calls take `launch + image * batch` ms and `image_mb` a picture."""

    def __init__(self, device, memory_mb=1e9, image_mb=1.0, launch=10.0, image=1.0):
        self.clock, self.device = FakeClock(), device
        self.memory_mb, self.image_mb = memory_mb, image_mb
        self.launch, self.image = launch, image
        self.prepared, self.open = [], 0
        self.fails = {}
        self.concerns = ()

    def prepare(self, network, conditions, device):
        batch = conditions.batch
        self.prepared.append(batch)
        if batch in self.fails:
            raise self.fails[batch]
        if batch * self.image_mb > self.memory_mb:
            raise DoesNotFit(f"{network.name}: needs more memory than there is.")
        self.open += 1
        call = FakeRunnable(
            self.clock, self.launch + self.image * batch, device=self.device, batch=batch
        )
        call.close = self.close
        return call

    def close(self):
        self.open -= 1

    def memory(self, network, conditions, device):
        mb = Reading(conditions.batch * self.image_mb, "measured")
        return {"peak_memory_mb": mb, "reserved_memory_mb": unknown("measured", "none")}

    @property
    def dependencies(self):
        return SweepDependencies(
            self.prepare,
            self.memory,
            lambda: self.memory_mb,
            lambda device: FakeWatcher(self.concerns),
            self.clock,
        )

    def sweep(self, batches=(), **more):
        more = {"pace": Pace(seconds=3.0, most_s=3.0), **more}
        found = sweep(
            NET, Conditions(), batches, self.device, dependencies=self.dependencies, **more
        )
        assert self.open == 0
        return found


def speeds(found):
    return {p.batch: p.throughput_ips.value for p in found.points}


@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
def test_each_batch_is_sustained_for_the_seconds_asked_for(device):
    machine = FakeMachine(device)
    found = machine.sweep((8, 1, 64))
    assert list(speeds(found)) == [1, 8, 64]
    wanted = {b: b * 1e3 / (10 + b) for b in (1, 8, 64)}
    assert speeds(found) == pytest.approx(wanted, rel=0.02)
    assert machine.clock.now_ms >= 3 * 3000
    assert found.points[1].memory["peak_memory_mb"].value == 8
    assert (found.largest, found.largest_reason) == (None, "not looked for")


def test_the_knee_is_the_first_batch_near_the_best():
    def point(batch, ips):
        return Point(batch, unknown("measured", "x") if ips is None else Reading(ips, "measured"))

    def knee(*points):
        return Sweep("n", "cpu", Conditions(), tuple(point(*p) for p in points)).knee

    assert knee((1, 10.0), (2, 95.0), (4, 100.0)) == 2
    assert knee((1, 10.0), (2, 94.9), (4, 100.0)) == 4
    assert knee((1, 100.0), (2, 90.0)) == 1
    assert knee((1, 10.0), (2, None)) == 1
    assert knee((1, None)) is None


@pytest.mark.parametrize("memory_mb", [1, 2, 3, 7, 64, 100, 1000])
def test_auto_finds_the_largest_batch_of_a_gpu(memory_mb):
    machine = FakeMachine("cuda:0", memory_mb)
    found = machine.sweep(auto=True)
    assert found.largest <= memory_mb
    assert memory_mb - found.largest <= memory_mb / 32
    assert speeds(found)[found.largest] is not None
    assert "90%" in found.largest_reason
    assert found.knee in speeds(found)


def test_a_gpu_without_end_is_not_tried_for_ever():
    found = FakeMachine("cuda:0", image=0.01).sweep(auto=True)
    assert found.largest == 65_536


def test_auto_keeps_the_batches_that_were_named():
    machine = FakeMachine("cuda:0", 10)
    found = machine.sweep((3, 8, 100), auto=True)
    assert {1, 2, 3, 4, 8, 16, 100} <= set(speeds(found))
    assert machine.prepared.count(8) == 1
    assert speeds(found)[100] is None
    assert found.largest == 10


def test_a_batch_that_does_not_fit_is_a_point_with_its_reason():
    machine = FakeMachine("cuda:0", 10)
    found = machine.sweep((1, 16, 32))
    _, second, third = found.points
    assert second.throughput_ips.reason == "batch 16 needs more memory than there is"
    assert third.throughput_ips.reason == "batch 16 needs more memory than there is"
    assert machine.prepared == [1, 16]  # 32 need not be tried
    assert second.memory == {}


def test_memory_that_ends_during_the_calls_is_survived_too():
    machine = FakeMachine("cuda:0")
    plain = machine.prepare

    def prepare(network, conditions, device):
        call = plain(network, conditions, device)
        if conditions.batch > 4:
            call.fails_at = 3, torch.OutOfMemoryError("CUDA out of memory.")
        return call

    machine.prepare = prepare
    found = machine.sweep(auto=True)
    assert found.largest == 4
    assert speeds(found)[4] is not None


def test_a_gpu_that_falls_off_leaves_the_points_before_it():
    machine = FakeMachine("cuda:0")
    machine.fails = {4: RuntimeError("CUDA error: GPU is lost"), 8: MeasurementError("net: gone.")}
    seen = []
    found = machine.sweep((1, 4, 8), auto=True, on_point=seen.append)
    assert speeds(found)[1] is not None
    assert found.points[2].throughput_ips.reason == "RuntimeError: CUDA error: GPU is lost"
    assert found.points[3].throughput_ips.reason == "net: gone."
    assert (found.largest, found.largest_reason) == (None, "RuntimeError: CUDA error: GPU is lost")
    assert sorted(p.batch for p in seen) == [p.batch for p in found.points]


def test_a_gpu_that_falls_off_between_speed_and_memory_leaves_the_speed():
    machine = FakeMachine("cuda:0")

    def memory(network, conditions, device):
        raise RuntimeError("CUDA error: GPU is lost")

    machine.memory = memory
    found = machine.sweep((1, 2))
    assert all(speed is not None for speed in speeds(found).values())
    reasons = {p.memory["peak_memory_mb"].reason for p in found.points}
    assert reasons == {"RuntimeError: CUDA error: GPU is lost"}


def test_a_gpu_that_falls_off_while_the_end_is_sought_is_not_called_full():
    machine = FakeMachine("cuda:0", 100)
    machine.fails = {96: RuntimeError("CUDA error: GPU is lost")}
    found = machine.sweep(auto=True)
    assert found.largest == 64
    assert found.largest_reason == "96 failed: RuntimeError: CUDA error: GPU is lost"


def test_a_gpu_without_a_number_is_the_first_one(monkeypatch):
    capped = []

    def cap(share, device):
        if device.index is None:
            raise ValueError("Expected a torch.device with a specified index")
        capped.append((share, device.index))
        if share == 1.0:
            raise RuntimeError("CUDA error: GPU is lost")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(throughput, "open_device", lambda device: torch.device("cuda", 0))
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", cap)
    assert speeds(FakeMachine("cuda").sweep((1,)))[1] is not None
    assert capped == [(0.9, 0), (1.0, 0)]


def test_out_of_memory_at_batch_1_is_one_line():
    with pytest.raises(
        MeasurementError, match=r"^net on cuda:0: batch 1 needs more memory than there is\.$"
    ):
        FakeMachine("cuda:0", 0.5).sweep((1, 8))
    with pytest.raises(MeasurementError, match="needs batches"):
        FakeMachine("cpu").sweep()


def test_a_cpu_is_not_driven_to_the_end_of_its_memory():
    machine = FakeMachine("cpu", memory_mb=50, launch=10.0, image=0.01)
    found = machine.sweep(auto=True)
    assert max(machine.prepared) == 32  # 64 would need 64 of 50 MB
    assert speeds(found)[64] is None
    assert "64 MB" in found.points[-1].throughput_ips.reason
    assert found.largest == 32
    assert "estimate" in found.largest_reason


def test_a_cpu_stops_where_doubling_gains_nothing_or_takes_long():
    flat = FakeMachine("cpu", launch=0.0, image=10.0).sweep(auto=True)
    assert list(speeds(flat)) == [1, 2, 4]
    assert flat.largest is None
    assert "gains nothing" in flat.largest_reason
    slow = FakeMachine("cpu", launch=1000.0, image=100.0).sweep(auto=True)
    assert max(speeds(slow)) * 100 + 1000 <= 3000
    assert "too long" in slow.largest_reason


def test_what_the_watcher_saw_stands_beside_the_figure():
    machine = FakeMachine("cuda:0")
    machine.concerns = (("throttled", "power cap"), ("loaded", "others"))
    figure = machine.sweep((1,)).points[0].throughput_ips
    assert (figure.status, figure.reason) == ("throttled", "power cap")


def test_batches_are_read_as_written():
    assert parse_batches("1,8,64,auto") == ((1, 8, 64), True)
    assert parse_batches(" 8 , 1,8") == ((8, 1), False)
    assert parse_batches("auto") == ((), True)
    assert parse_batches("65536") == ((65536,), False)


@pytest.mark.parametrize("text", ["0", "x", "-1", "1.5", "", "1,,2", "65537", "9" * 5000, "٣"])
def test_what_is_no_batch_is_told_in_one_line(text):
    with pytest.raises(ConfigError, match=r"^--batch: .*\(got '[^\n]{0,20}'\)\. Write") as caught:
        parse_batches(text)
    assert len(str(caught.value)) < 200


def test_a_sweep_works_with_the_real_things_by_default():
    real = SweepDependencies()
    assert real.prepare is throughput.prepare
    assert real.memory is throughput.measure_peak_memory
