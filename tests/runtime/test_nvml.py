"""NVML: what is not known is None, what cannot be true is doubted, nothing raises."""

import os
import re

import pytest

from smt_nas.runtime.nvml import REASONS, Gpu, Unavailable, list_gpus, open_gpu
from tests.fakes import nvml as fakes
from tests.fakes.nvml import FakeNvml, GpuState, NVMLError


def opened(nvml, **kwargs):
    gpu = open_gpu(nvml=nvml, **kwargs)
    assert isinstance(gpu, Gpu)
    return gpu


def test_an_honest_gpu():
    gpu = opened(FakeNvml())
    assert (gpu.name, gpu.driver, gpu.mig) == ("NVIDIA A100-SXM4-80GB", "580.65.06", False)
    assert (gpu.max_sm_mhz, gpu.max_mem_mhz, gpu.power_limit_w()) == (1410, 1593, 400)
    assert (gpu.sms(), gpu.capability()) == (108, (8, 0))
    assert gpu.bandwidth_gbps() == pytest.approx(2039, rel=1e-3)
    assert gpu.memory_mb() == (1e3, 85e3)
    sample = gpu.sample()
    assert (sample.sm_mhz, sample.mem_mhz, sample.power_w) == (1410, 1593, 250)
    assert (sample.temperature_c, sample.reasons, sample.doubts) == (55, (), ())
    assert not sample.lost
    assert gpu.sample().time_s >= sample.time_s
    before = gpu.energy_mj()
    assert gpu.energy_mj() - before == 30_000


def test_the_uuid_is_hashed():
    gpu = opened(FakeNvml())
    assert len(gpu.uuid_hash) == 12 and gpu.uuid_hash not in gpu.uuid
    other = opened(FakeNvml(GpuState(uuid="GPU-0")))
    assert other.uuid_hash != gpu.uuid_hash
    assert opened(FakeNvml(GpuState(uuid=None))).uuid_hash is None


@pytest.mark.parametrize(("bit", "name"), REASONS.items())
def test_each_reason(bit, name):
    gpu = opened(FakeNvml(GpuState(reasons=bit | 0x1 | 0x2 | 0x10 | 0x100)))  # and harmless ones
    assert gpu.sample().reasons == (name,)


def test_reasons_by_the_name_of_old_drivers():
    nvml = FakeNvml(GpuState(reasons=None))
    nvml.nvmlDeviceGetCurrentClocksThrottleReasons = lambda state: 0x44
    assert opened(nvml).sample().reasons == ("sw-power-cap", "hw-thermal")


def test_a_liar_is_doubted():
    gpu = opened(fakes.lying())
    sample = gpu.sample()
    assert (sample.sm_mhz, sample.mem_mhz, sample.power_w) == (None, None, None)
    assert (sample.temperature_c, sample.reasons) == (None, None)
    assert len(sample.doubts) == 5 and "99999" in " ".join(sample.doubts)
    assert gpu.energy_mj() is None
    assert gpu.memory_mb() is None


@pytest.mark.parametrize("value", ["fast", True, float("nan"), [1]])
def test_an_answer_that_is_no_number_is_doubted(value):
    sample = opened(FakeNvml(GpuState(clocks={1: value, 2: 1593}))).sample()
    assert sample.sm_mhz is None and len(sample.doubts) == 1


def test_one_that_dies_answers_nothing_more():
    nvml = fakes.dying(after=7)  # in the middle of its first sample
    gpu = opened(nvml)
    first = gpu.sample()
    assert (first.power_w, first.sm_mhz, first.mem_mhz) == (250, 1410, None)
    last = gpu.sample()
    assert last.lost and gpu.lost
    assert (last.sm_mhz, last.power_w, last.reasons, last.doubts) == (None, None, None, ())
    asked = nvml.calls
    assert gpu.energy_mj() is None and gpu.sample().lost
    assert nvml.calls == asked  # it is not asked again
    assert isinstance(open_gpu(nvml=nvml), Unavailable)


def test_one_without_counters_is_unknown_not_fine():
    gpu = opened(fakes.without_counters())
    sample = gpu.sample()
    assert (sample.sm_mhz, sample.power_w, sample.temperature_c) == (None, None, None)
    assert sample.reasons is None and sample.doubts == () and not sample.lost
    assert gpu.energy_mj() is None and gpu.memory_mb() is None
    assert gpu.other_processes() is None and gpu.power_limit_w() is None
    assert gpu.sms() is None and gpu.bandwidth_gbps() is None and gpu.max_sm_mhz is None


@pytest.mark.parametrize(
    ("nvml", "reason"),
    [
        (fakes.without_driver(), r"Shared Library Not Found.*Install the NVIDIA driver"),
        (fakes.mismatched(), r"version mismatch\).*reload it, or reboot"),
        (FakeNvml(init_error=NVMLError(9, "Driver Not Loaded")), "modprobe nvidia"),
        (fakes.without_gpu(), "sees no GPU"),
        (FakeNvml(init_error=NVMLError(999, "")), "does not start"),
        (object(), "does not start"),
    ],
)
def test_where_there_is_none(nvml, reason):
    absent = open_gpu(nvml=nvml)
    assert isinstance(absent, Unavailable)
    assert re.search(reason, absent.reason)
    assert list_gpus(nvml=nvml) == []


def test_a_mismatch_is_not_mended_by_installing():
    absent = open_gpu(nvml=fakes.mismatched())
    assert "Install" not in absent.reason


def test_a_slice_is_told():
    gpu = opened(fakes.mig_slice())
    assert gpu.mig and gpu.energy_mj() is None


def test_two_gpus():
    nvml = FakeNvml(GpuState(), GpuState(name="Tesla T4", uuid="GPU-b"))
    assert [g.name for g in list_gpus(nvml=nvml)] == ["NVIDIA A100-SXM4-80GB", "Tesla T4"]
    assert opened(nvml, index=1).name == "Tesla T4"
    assert opened(nvml, uuid="B").index == 1  # as torch tells it: without "GPU-"
    absent = open_gpu(2, nvml=nvml)
    assert isinstance(absent, Unavailable) and "cuda:0 to cuda:1" in absent.reason
    assert isinstance(open_gpu(uuid="c", nvml=nvml), Unavailable)
    assert opened(FakeNvml(), uuid="MIG-1").index == 0


def test_one_lost_of_two():
    nvml = FakeNvml(GpuState(dies_after=0), GpuState(uuid="GPU-b"))
    assert [g.index for g in list_gpus(nvml=nvml)] == [1]
    assert "fallen off" in open_gpu(0, nvml=nvml).reason


def test_other_processes():
    nvml = FakeNvml(GpuState(processes=(os.getpid(), 7, 5, 7)))
    assert opened(nvml).other_processes() == (5, 7)


def test_bytes_are_words():
    assert opened(FakeNvml(GpuState(name=b"Tesla T4"))).name == "Tesla T4"


def test_throttled():
    assert opened(fakes.throttled()).sample().reasons == ("sw-power-cap",)


def test_the_fakes_are_like_the_library():
    """Whatever is asked of a fake, the library has under that name, and the same constants."""
    pynvml = pytest.importorskip("pynvml")
    asked = [name for name in dir(FakeNvml) if name.startswith("nvml")]
    assert [name for name in asked if not callable(getattr(pynvml, name, None))] == []
    assert pynvml.NVMLError(fakes.LOST).value == pynvml.NVML_ERROR_GPU_IS_LOST == fakes.LOST
    assert (pynvml.NVML_CLOCK_SM, pynvml.NVML_CLOCK_MEM, pynvml.NVML_TEMPERATURE_GPU) == (1, 2, 0)
    assert pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH == fakes.MISMATCH
    assert pynvml.NVML_ERROR_DRIVER_NOT_LOADED == 9 and pynvml.NVML_ERROR_NO_PERMISSION == 4
    held = "SwPowerCap HwSlowdown SwThermalSlowdown HwThermalSlowdown HwPowerBrakeSlowdown"
    bits = [getattr(pynvml, f"nvmlClocksThrottleReason{name}") for name in held.split()]
    assert bits == list(REASONS)


def test_the_real_library_says_why_or_opens():
    found = open_gpu()
    assert isinstance(found, Gpu) or len(found.reason) > 10
