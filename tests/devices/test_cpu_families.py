"""CPU families: what the numbers of /proc/cpuinfo say of cores, AVX-512, AMX and memory."""

import pytest

from smt_nas.conditions import Conditions
from smt_nas.devices.cpu_families import find_cpu_family, load_cpu_families
from smt_nas.devices.device import hardware_of
from smt_nas.devices.registry import load_sheet, local_sheet, locate
from smt_nas.runtime.host import read_host
from tests.fakes import machine as laid

CPU = """processor\t: {{i}}
vendor_id\t: {vendor}
cpu family\t: {family}
model\t\t: {model}
model name\t: {name}
siblings\t: {siblings}
cpu cores\t: {cores}
flags\t\t: fpu avx2 avx512f {flags}
"""


def machine(monkeypatch, root, cpus=8, siblings=8, cores=8, flags="", **numbers):
    text = CPU.format(siblings=siblings, cores=cores, flags=flags, **numbers)
    return laid.machine(monkeypatch, root, cpus=cpus, cpu=text)


def amd(family, model, name):
    return {"vendor": "AuthenticAMD", "family": family, "model": model, "name": name}


def intel(model, name):
    return {"vendor": "GenuineIntel", "family": 6, "model": model, "name": name}


@pytest.mark.parametrize(
    ("numbers", "family", "per_clk", "gbps"),
    [
        (amd(23, 49, "AMD EPYC 7742 64-Core Processor"), "EPYC 7002 (Rome)", 32, 204.8),
        (amd(25, 1, "AMD EPYC 7R13 Processor"), "EPYC 7003 (Milan)", 32, 204.8),
        (amd(25, 17, "AMD EPYC"), "EPYC 9004 (Genoa, Bergamo)", 32, 460.8),
        (amd(26, 2, "AMD EPYC 9755 128-Core Processor"), "EPYC 9005 (Turin)", 64, 576),
        (amd(25, 33, "AMD Ryzen 9 5950X 16-Core Processor"), "Ryzen 5000", 32, 51.2),
        (amd(25, 97, "AMD Ryzen 9 7950X 16-Core Processor"), "Ryzen 7000", 32, 83.2),
        (amd(26, 68, "AMD Ryzen 9 9950X 16-Core Processor"), "Ryzen 9000", 64, 89.6),
        (amd(26, 36, "AMD Ryzen AI 9 HX 370"), "Ryzen AI 300", 32, None),
        (amd(25, 8, "AMD Ryzen Threadripper PRO 5995WX"), "AMD Zen 3", 32, None),
        (intel(85, "Intel(R) Xeon(R) Gold 6248 CPU @ 2.50GHz"), "Xeon Scalable (Sky", 64, 128),
        (intel(85, "Intel(R) Xeon(R) Silver 4210 CPU @ 2.20GHz"), "Xeon Silver", 32, 115.2),
        (intel(106, "Intel(R) Xeon(R) Platinum 8380"), "Xeon Scalable (Ice Lake)", 64, 204.8),
        (intel(143, "Intel(R) Xeon(R) Platinum 8480+"), "Xeon Scalable (Sapph", 64, 307.2),
        (intel(79, "Intel(R) Xeon(R) CPU E5-2690 v4 @ 2.60GHz"), "Xeon E5 v4", 32, 76.8),
    ],
)
def test_what_cpuinfo_says(numbers, family, per_clk, gbps, tmp_path, monkeypatch):
    found = find_cpu_family(read_host(machine(monkeypatch, tmp_path, **numbers)))
    assert found is not None and found.name.startswith(family)
    assert found.fp32_flops_per_clk == per_clk
    assert found.bandwidth_gbps == (gbps and pytest.approx(gbps, rel=1e-3))
    sheet = local_sheet("cpu", root=tmp_path)
    assert sheet.probed and found.name in sheet.architecture
    assert sheet.fp32_flops_per_clk == per_clk and "http" in sheet.source("fp32_flops_per_clk")


def test_a_family_nobody_listed_is_probed_as_before(tmp_path, monkeypatch):
    root = machine(monkeypatch, tmp_path, **amd(99, 1, "A CPU of tomorrow"))
    assert find_cpu_family(read_host(root)) is None
    sheet = local_sheet("cpu", root=root)
    assert (sheet.fp32_flops_per_clk, sheet.cores, sheet.architecture) == (64, None, None)


def test_threads_that_share_a_core_share_its_rate(tmp_path, monkeypatch):
    numbers = amd(25, 1, "AMD EPYC 7R13 Processor")
    root = machine(monkeypatch, tmp_path, cpus=16, siblings=16, cores=8, **numbers)
    sheet = local_sheet("cpu", root=root)
    assert (sheet.threads, sheet.cores) == (16, 8)
    assert sheet.peak("fp32") == pytest.approx(8 * 32 * 3.5e-3)
    one = hardware_of(sheet, Conditions(threads=1))
    assert one.product_tflops == pytest.approx(32 * 3.5e-3)  # a thread alone has its core
    assert hardware_of(sheet, Conditions(threads=16)).product_tflops == sheet.peak("fp32")


@pytest.mark.parametrize(("flags", "tflops"), [("amx_bf16 amx_tile", 8 * 1024), ("", None)])
def test_amx_is_there_where_the_flags_say_so(flags, tflops, tmp_path, monkeypatch):
    numbers = intel(143, "Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz")
    root = machine(monkeypatch, tmp_path, flags=flags, **numbers)
    sheet = local_sheet("cpu", root=root)
    expected = None if tflops is None else pytest.approx(tflops * sheet.boost_ghz / 1e3)
    assert sheet.peak("bf16") == expected
    assert ("AMX" in " ".join(sheet.warnings)) == bool(flags)


def test_a_whole_machine_of_a_listed_cpu_has_its_sheet(tmp_path, monkeypatch):
    numbers = amd(25, 1, "AMD EPYC 7763 64-Core Processor")
    root = machine(monkeypatch, tmp_path, cpus=128, siblings=128, cores=64, **numbers)
    assert local_sheet("cpu", root=root).key == "epyc_7763"
    assert locate(load_sheet("epyc-7763"), root=root) == "cpu"
    root = machine(monkeypatch, tmp_path, cpus=8, **numbers)
    assert local_sheet("cpu", root=root).key == "amd-epyc-7763-64-core-processor-8cpu"
    assert locate(load_sheet("epyc-7763"), root=root) is None


def test_every_family_has_its_sources():
    for row in load_cpu_families():
        assert row.sources and all("http" in s or "README" in s for s in row.sources)
