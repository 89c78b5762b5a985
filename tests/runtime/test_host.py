"""The host: load, stolen time, our own share and energy, of a machine that is laid out here."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from smt_nas.runtime.host import (
    available_cores,
    foreign_share,
    open_rapl,
    read_host,
    sample_host,
    steal_share,
)
from smt_nas.runtime.nvml import Unavailable
from tests.fakes import machine as laid


@pytest.fixture
def told(monkeypatch):
    """What psutil tells."""
    return laid.install(monkeypatch)


def window(told, root, change, *, seconds=1.0):
    """Two samples a second apart, with counters moved in between."""
    before = replace(sample_host(root), time_s=0.0)
    change()
    return before, replace(sample_host(root), time_s=seconds)


def test_what_the_cpu_is(monkeypatch, tmp_path):
    root = laid.machine(monkeypatch, tmp_path)
    laid.write(root, "sys/devices/system/cpu/cpu0/cache/index2/size", "512K\n")
    laid.write(root, "sys/devices/system/cpu/cpu0/cache/index3/size", "32768K\n")
    machine = read_host(root)
    assert machine.names == ("AuthenticAMD family 25 model 1", "AMD EPYC")
    assert (machine.threads, machine.mhz, machine.cache_mb) == (2, 2445.406, 32)
    assert "avx2" in machine.flags and "avx512f" not in machine.flags
    laid.install(monkeypatch, highest_mhz=3529.0)
    assert read_host(root).mhz == 3529


def test_a_sample(told, tmp_path):
    told.busy, told.steal = 2.5, 0.07
    told.processes[None] = laid.Process(1.2, ended=0.3)
    sample = sample_host(tmp_path)
    assert (sample.busy_s, sample.steal_s, sample.own_s) == (2.5, 0.07, 1.5)
    assert (sample.load1, sample.mhz, sample.cpus) == (0.5, 2445.406, 2)


def test_foreign_is_what_is_not_ours(told, tmp_path):
    def change():
        told.busy, told.steal = 1.1, 0.1
        told.processes[None] = laid.Process(1.0)

    before, after = window(told, tmp_path, change)
    assert foreign_share(before, after) == pytest.approx(0.05)  # 0.1 s of 2 CPU seconds
    assert steal_share(before, after) == pytest.approx(0.05)


def test_children_are_ours(told, tmp_path):
    def change():
        told.busy = 1.0
        told.processes |= {None: laid.Process(0.1), 41: laid.Process(0.4), 42: laid.Process(0.2)}
        told.processes[43] = laid.Process(0.2, ended=0.1)
        told.processes[45] = None  # nobody may look at it
        laid.children(tmp_path, "self", 41, 42)
        laid.children(tmp_path, "41", 43, 44, 45)  # 44 has ended meanwhile

    before, after = window(told, tmp_path, change)
    assert after.own_s == pytest.approx(1.0)
    assert foreign_share(before, after) == pytest.approx(0.0, abs=1e-9)


def test_children_are_ours_where_linux_does_not_list_them(told, tmp_path):
    told.processes[7] = laid.Process(0.4)
    told.processes[None].below = [SimpleNamespace(pid=7)]
    assert sample_host(tmp_path).own_s == pytest.approx(0.4)


def test_ours_rounded_up_is_not_less_than_nothing(told, tmp_path):
    def change():
        told.processes[None] = laid.Process(0.05)

    before, after = window(told, tmp_path, change)
    assert foreign_share(before, after) == 0.0


def test_a_window_without_length_says_nothing(told, tmp_path):
    before = sample_host(tmp_path)
    assert foreign_share(before, before) is None and steal_share(before, before) is None


def test_what_is_not_told_is_none(monkeypatch, tmp_path):
    laid.install(monkeypatch, busy=None, steal=None, mhz=None, load=None, processes={})
    sample = sample_host(tmp_path)
    assert (sample.busy_s, sample.steal_s, sample.own_s, sample.load1, sample.mhz) == (None,) * 5
    assert foreign_share(sample, replace(sample, time_s=sample.time_s + 1)) is None
    machine = read_host(tmp_path)
    assert (machine.names, machine.mhz, machine.cache_mb, machine.threads) == ((), None, None, 2)


def test_a_system_without_steal_or_interrupts(monkeypatch, tmp_path):
    laid.install(monkeypatch, busy=2.0, steal=None)  # as macOS
    sample = sample_host(tmp_path)
    assert (sample.busy_s, sample.steal_s) == (2.0, None)


def test_this_machine_answers():
    before = sample_host()
    assert read_host().threads == available_cores() >= 1
    assert before.own_s is None or before.own_s > 0
    share = foreign_share(before, replace(sample_host(), time_s=before.time_s + 1))
    assert share is None or 0 <= share <= 1


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
    assert isinstance(absent, Unavailable) and "virtual machines" in absent.reason
    laid.write(tmp_path, "sys/class/powercap/intel-rapl:0/max_energy_range_uj", "9\n")
    absent = open_rapl(tmp_path)  # energy_uj is there for root only: unreadable is like absent
    assert isinstance(absent, Unavailable) and "root" in absent.reason
