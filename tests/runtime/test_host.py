"""The host: load, stolen time, our own share and energy, below a root that is laid out here."""

from dataclasses import replace

import pytest

from smt_nas.runtime.host import foreign_share, host, open_rapl, sample, steal_share
from smt_nas.runtime.nvml import Absent
from tests.fakes import machine as laid


@pytest.fixture
def root(tmp_path):
    return laid.machine(tmp_path)


def window(root, *, seconds=1.0, cpus=2, **after):
    """Two samples a second apart, with counters moved in between."""
    before = replace(sample(root), cpus=cpus, time_s=0.0)
    after["change"]()
    return before, replace(sample(root), cpus=cpus, time_s=seconds)


def test_what_the_cpu_is(root):
    laid.write(root, "sys/devices/system/cpu/cpu0/cache/index2/size", "512K\n")
    laid.write(root, "sys/devices/system/cpu/cpu0/cache/index3/size", "32768K\n")
    found = host(root)
    assert found.names == ("AuthenticAMD family 25 model 1", "AMD EPYC")
    assert (found.threads, found.mhz, found.cache_mb) == (2, 2445.406, 32)
    assert "avx2" in found.flags and "avx512f" not in found.flags
    laid.write(root, "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq", "3529000\n")
    assert host(root).mhz == 3529


def test_a_sample(root):
    laid.stat(root, busy=250, steal=7)
    laid.own(root, 120, ended=30)
    found = sample(root)
    assert (found.busy_s, found.steal_s, found.own_s) == (2.5, 0.07, 1.5)
    assert (found.load1, found.mhz) == (0.5, 2445.406)


def test_foreign_is_what_is_not_ours(root):
    def change():
        laid.stat(root, busy=110, steal=10)
        laid.own(root, 100)

    before, after = window(root, change=change)
    assert foreign_share(before, after) == pytest.approx(0.05)  # 0.1 s of 2 CPU seconds
    assert steal_share(before, after) == pytest.approx(0.05)


def test_children_are_ours(root):
    def change():
        laid.stat(root, busy=100)
        laid.process(root, "self", 10, children="41 42")
        laid.process(root, "41", 40, children="43")
        laid.process(root, "42", 20)
        laid.process(root, "43", 30, ended=0)

    before, after = window(root, change=change)
    assert after.own_s == pytest.approx(1.0)
    assert foreign_share(before, after) == pytest.approx(0.0, abs=1e-9)


def test_ours_rounded_up_is_not_less_than_nothing(root):
    before, after = window(root, change=lambda: laid.own(root, 5))
    assert foreign_share(before, after) == 0.0


def test_a_window_without_length_says_nothing(root):
    before = sample(root)
    assert foreign_share(before, before) is None and steal_share(before, before) is None


def test_what_is_not_there_is_none(tmp_path):
    found = sample(tmp_path)
    assert (found.busy_s, found.steal_s, found.own_s, found.load1, found.mhz) == (None,) * 5
    assert foreign_share(found, replace(found, time_s=found.time_s + 1)) is None
    machine = host(tmp_path)
    assert (machine.names, machine.mhz, machine.cache_mb, machine.threads) == ((), None, None, 1)


def test_this_machine_answers():
    before, found = sample(), host()
    assert found.threads >= 1
    assert before.own_s is None or before.own_s > 0
    assert foreign_share(before, replace(sample(), time_s=before.time_s + 1)) != -1


def test_energy_of_all_packages(tmp_path):
    laid.rapl(tmp_path, 1000, 2000)
    counters = open_rapl(tmp_path)
    assert counters.energy_mj() == 0
    laid.rapl(tmp_path, 4000, 7000)
    assert counters.energy_mj() == 8.0
    assert counters.energy_mj() == 8.0


def test_energy_wraps(tmp_path):
    laid.rapl(tmp_path, 999_000)
    counters = open_rapl(tmp_path)
    laid.rapl(tmp_path, 1000)
    assert counters.energy_mj() == 2.0


def test_energy_that_can_no_longer_be_read_is_none(tmp_path):
    laid.rapl(tmp_path, 1000)
    counters = open_rapl(tmp_path)
    (tmp_path / "sys/class/powercap/intel-rapl:0/energy_uj").unlink()
    assert counters.energy_mj() is None


def test_no_energy_counters(tmp_path):
    absent = open_rapl(tmp_path)
    assert isinstance(absent, Absent) and "virtual machines" in absent.reason
    laid.write(tmp_path, "sys/class/powercap/intel-rapl:0/max_energy_range_uj", "9\n")
    absent = open_rapl(tmp_path)  # energy_uj is there for root only: unreadable is like absent
    assert isinstance(absent, Absent) and "root" in absent.reason
