"""CPUs that are elsewhere, by the name people call them: one core of the family it tells."""

import pytest

from smt_nas.devices.cpu_families import load_cpu_families, load_typed_cpus
from smt_nas.devices.registry import load_sheet, local_sheet
from smt_nas.devices.resolve import resolve
from smt_nas.errors import MeasurementError, UnknownName
from tests.fakes import machine as laid

NAMES = {
    "EPYC 7251": ("EPYC 7001 (Naples)", 16),
    "AMD EPYC 7742 64-Core Processor": ("EPYC 7002 (Rome)", 32),
    "EPYC 7543": ("EPYC 7003 (Milan)", 32),
    "epyc-7373x": ("EPYC 7003 (Milan)", 32),
    "epyc9354p": ("EPYC 9004 (Genoa, Bergamo)", 32),
    "Ryzen 5 3600": ("Ryzen 3000", 32),
    "AMD Ryzen 7 5800X3D 8-Core Processor": ("Ryzen 5000", 32),
    "Ryzen 7 7700X": ("Ryzen 7000", 32),
    "ryzen_9_9900x": ("Ryzen 9000", 64),
    "Intel(R) Xeon(R) CPU E5-2690 v4 @ 2.60GHz": ("Xeon E5 v4", 32),
    "Xeon Silver 4210": ("Xeon Silver, Bronze and Gold 5000", 32),
    "Xeon Gold 5218": ("Xeon Silver, Bronze and Gold 5000", 32),
    "Xeon Gold 5222": ("Xeon Scalable (Skylake, Cascade Lake)", 64),
    "Xeon Gold 6248": ("Xeon Scalable (Skylake, Cascade Lake)", 64),
    "Intel(R) Xeon(R) Gold 6338 CPU @ 2.00GHz": ("Xeon Scalable (Ice Lake)", 64),
    "Xeon Platinum 8480+": ("Xeon Scalable (Sapphire Rapids)", 64),
    "xeon gold 6548y+": ("Xeon Scalable (Emerald Rapids)", 64),
    "i7-12700K": ("Core of the 12th", 32),
    "13th Gen Intel(R) Core(TM) i5-13600KF": ("Core of the 12th", 32),
}


@pytest.mark.parametrize(("name", "family"), NAMES.items())
def test_a_number_tells_the_family(name, family):
    ref = resolve(name)
    sheet = ref.require_sheet()
    assert (ref.kind, ref.here, sheet.threads) == ("cpu", None, 1)
    assert sheet.architecture is not None and f", {family[0]}" in sheet.architecture
    assert sheet.peak_tflops == {"fp32": pytest.approx(family[1] * sheet.boost_ghz / 1e3)}
    assert resolve(ref.label).device == ref.device == resolve(ref.device).device
    assert "how many it has" in sheet.warnings[0]
    assert all(field in sheet.sources for field, _ in sheet.cells())


@pytest.mark.parametrize("name", ["EPYC 9755", "Xeon 6767P"])
def test_one_whose_clock_no_source_tells_is_refused_in_a_line(name):
    with pytest.raises(MeasurementError, match=r"clock of .* must be known") as error:
        load_sheet(name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "name",
    [
        "Ryzen 7 7840HS",  # of a notebook
        "Ryzen 5 3400G",  # Zen+
        "Ryzen 7 5700U",  # Zen 2
        "Xeon Gold 6330H",  # Cooper Lake
        "Xeon Phi 7250",
        "EPYC 8324P",  # six channels
        "i9-13980HX",
        "i7-6700K",
        "Core Ultra 7 265K",
        "Threadripper 3990X",
        "EPYC 7",
        "Xeon Gold",
    ],
)
def test_what_a_number_does_not_tell_is_refused_with_the_nearest_cpus(name):
    with pytest.raises(UnknownName, match="Did you mean") as error:
        load_sheet(name)
    nearest = str(error.value).split("Did you mean ")[1].split("?")[0].split(", ")
    assert {load_sheet(key).kind for key in nearest} == {"cpu"}


def test_a_sheet_goes_before_a_family():
    assert load_sheet("EPYC 7763").key == "epyc_7763" and load_sheet("EPYC 7763").threads == 128


def test_this_machine_s_own_cpu_is_the_whole_of_it(monkeypatch, tmp_path):
    cpu = laid.CPU.replace("AMD EPYC", "AMD EPYC 7543 32-Core Processor")
    laid.machine(monkeypatch, tmp_path, cpus=8, cpu=cpu)
    own = local_sheet("cpu", root=tmp_path)
    monkeypatch.setattr("smt_nas.devices.registry.local_sheet", lambda *_, **__: own)
    assert load_sheet("EPYC 7543") is own and own.threads == 8


def test_every_row_is_of_a_family_that_stands_there():
    families = load_cpu_families()
    assert {row.family for row in load_typed_cpus()} <= set(families)
