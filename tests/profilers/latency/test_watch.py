"""Watchers: an honest GPU, one that lies, one that dies, one without counters; a shared host."""

import os

import pytest

from smt_nas.profilers.latency.measurement import WatchReport
from smt_nas.profilers.latency.watch import GpuWatcher, HostWatcher, NullWatcher, watcher_of
from smt_nas.runtime.host import HostSample
from smt_nas.runtime.nvml import open_gpu
from tests.fakes import nvml as fakes
from tests.fakes.waiting import wait_until


def watched(nvml, readings=12):
    """What a watcher saw of the first GPU in at least so many readings."""
    gpu = open_gpu(nvml=nvml)
    sample, taken = gpu.sample, []

    def counted():
        taken.append(sample())
        return taken[-1]

    gpu.sample = counted
    watcher = GpuWatcher(gpu, period_s=0.001)
    watcher.start()
    wait_until(lambda: len(taken) > readings)
    assert not watcher.saw_load()
    return watcher.stop()


def state(**answers):
    return fakes.FakeNvml(fakes.GpuState(**answers))


def test_an_honest_gpu_at_full_clocks_gives_no_concern():
    found = watched(fakes.FakeNvml())
    assert found.concerns == ()
    assert found.values["readings"] >= 12
    assert found.values | {"readings": 12} == {
        "readings": 12,
        "sm_mhz": 1410.0,
        "sm_mhz_min": 1410.0,
        "sm_share_of_max": 1.0,
        "mem_mhz": 1593.0,
        "power_w": 250.0,
        "temperature_start_c": 55.0,
        "temperature_max_c": 55.0,
        "reasons": {},
        "other_processes": 0,
    }


@pytest.mark.parametrize(
    ("bits", "name"),
    [(0x4, "sw-power-cap"), (0x20, "sw-thermal"), (0x40, "hw-thermal"), (0x80, "hw-power-brake")],
)
def test_what_holds_the_clocks_back_is_named(bits, name):
    found = watched(state(reasons=bits))
    assert found.concerns == (("throttled", f"{name} in 100% of the readings"),)
    assert found.values["reasons"] == {name: 1.0}


def test_low_clocks_are_throttled_whatever_the_reasons_say():
    found = watched(state(clocks={1: 800, 2: 1593}))
    assert found.concerns == (("throttled", "SM clock at 57% of its maximum"),)
    assert found.values["sm_share_of_max"] == pytest.approx(0.567, abs=1e-3)


def test_a_gpu_that_lies_is_unknown_not_fine():
    found = watched(fakes.lying())
    assert {status for status, _ in found.concerns} == {"unknown"}
    said = " ".join(reason for _, reason in found.concerns)
    assert "readings of the clocks failed" in said
    assert "cannot be true" in said
    unread = ("sm_mhz", "mem_mhz", "power_w", "temperature_max_c", "sm_share_of_max")
    assert {found.values[name] for name in unread} == {None}


def test_a_gpu_that_dies_midway_is_unknown_and_what_was_read_is_kept():
    found = watched(fakes.dying(after=40), readings=30)
    assert ("unknown", "the GPU fell off the bus") in found.concerns
    assert found.values["sm_mhz"] == 1410.0


def test_a_gpu_without_counters_is_unknown():
    found = watched(fakes.without_counters())
    assert found.concerns[0][0] == "unknown"
    assert "readings of the clocks failed" in found.concerns[0][1]
    assert found.values["sm_mhz"] is None
    assert found.values["other_processes"] is None


def test_one_failed_reading_is_not_overlooked():
    class Hiccup(fakes.FakeNvml):
        asked = 0

        def nvmlDeviceGetCurrentClocksEventReasons(self, gpu):
            self.asked += 1
            return self._answer(gpu, None if self.asked == 3 else 0)

        nvmlDeviceGetCurrentClocksThrottleReasons = nvmlDeviceGetCurrentClocksEventReasons

    nvml = Hiccup()
    # the third question fails, and so must the older name of it
    nvml.nvmlDeviceGetCurrentClocksThrottleReasons = None
    (concern,) = watched(nvml).concerns
    assert concern[0] == "unknown"
    assert concern[1].startswith("1 of ")


def test_a_slice_of_a_gpu_is_unknown():
    concerns = watched(fakes.mig_slice()).concerns
    assert ("unknown", "a MIG slice: clocks and power are shared with other slices") in concerns


def test_other_processes_are_told_and_a_container_does_not_count_itself():
    def said(*pids):
        found = watched(state(processes=pids))
        return found.values["other_processes"], [reason for _, reason in found.concerns]

    here, nowhere = os.getppid(), [4_194_305, 4_194_306]  # above the highest process id
    assert said(os.getpid()) == (0, [])
    assert said(nowhere[0]) == (0, [])  # an id of the host's: ourselves
    assert said(here) == (1, ["1 other process on the GPU, at work or not"])
    assert said(*nowhere)[0] == 1


def test_a_watcher_that_breaks_says_so():
    gpu = open_gpu(nvml=fakes.FakeNvml())

    def broken():
        raise OSError("driver went away")

    gpu.sample = broken
    watcher = GpuWatcher(gpu, period_s=0.001)
    watcher.start()
    found = watcher.stop()
    assert found.concerns == (
        ("unknown", "the clocks could not be read (OSError: driver went away)"),
    )


def test_blind_says_why():
    blind = NullWatcher("no driver.")
    blind.start()
    assert not blind.saw_load()
    assert blind.stop() == WatchReport((("unknown", "nothing watched the GPU: no driver."),))


def host(*readings):
    """A watcher of a machine of 2 CPUs; readings (time, busy, own, steal) in seconds."""
    left = iter(readings)

    def read():
        at, busy, own, steal = next(left)
        return HostSample(at, 2, busy, steal, own, load1=1.0, mhz=2000 + at)

    return HostWatcher(read)


def test_a_host_to_ourselves_gives_no_concern():
    watcher = host((0, 0, 0, 0), (1, 1, 1, 0), (2, 2, 2, 0))
    watcher.start()
    assert not watcher.saw_load()
    found = watcher.stop()
    assert found.concerns == ()
    assert found.values == {
        "foreign_share": 0.0,
        "steal_share": 0.0,
        "load1": 1.0,
        "mhz": 2001.0,
        "mhz_min": 2000.0,
    }


def test_others_on_the_host_load_it():
    watcher = host((0, 0, 0, 0), (1, 1.5, 1, 0), (2, 2.5, 2, 0), (3, 3.5, 3, 0))
    watcher.start()
    assert [watcher.saw_load(), watcher.saw_load()] == [True, False]  # in the first second only
    found = watcher.stop()
    assert found.concerns == (
        ("loaded", "other processes used 8% of the CPU time, and 0% was stolen"),
    )


def test_stolen_time_loads_it_too():
    watcher = host((0, 0, 0, 0), (10, 10, 10, 2))
    watcher.start()
    assert watcher.stop().concerns[0][0] == "loaded"


def test_what_the_counters_cannot_resolve_is_no_load():
    watcher = host((0, 0, 0, 0), (0.05, 0.06, 0.05, 0), (2, 2.01, 2, 0))
    watcher.start()
    assert not watcher.saw_load()  # one tick of 10 ms in 50 ms
    assert watcher.stop().concerns == ()


@pytest.mark.parametrize("unread", [1, 2])
def test_a_host_that_tells_nothing_is_unknown(unread):
    readings = [[0, 0, 0, None], [1, 1, 1, None]]
    for reading in readings:
        reading[unread] = None
    watcher = host(*readings)
    watcher.start()
    found = watcher.stop()
    assert found.concerns == (("unknown", "/proc does not tell who used the CPUs"),)
    assert found.values["foreign_share"] is None


def test_the_cpu_of_this_machine_has_a_watcher():
    watcher = watcher_of("cpu")
    watcher.start()
    watcher.saw_load()
    assert set(watcher.stop().values) >= {"foreign_share", "steal_share", "load1"}
