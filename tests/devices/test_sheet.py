"""Sheets: every figure has its source, and the figures agree with each other."""

import pytest
import yaml

from smt_nas.budgets import parse_budget
from smt_nas.devices.dispatch import load_host
from smt_nas.devices.registry import all_sheets, load_sheet, sheet_names
from smt_nas.devices.sheet import PEAKS, Sheet, SheetFile
from smt_nas.errors import ConfigError, UnknownName
from smt_nas.files import folders

SHIPPED = all_sheets()
GPUS = [s for s in SHIPPED if s.kind == "gpu"]
every_sheet = pytest.mark.parametrize("sheet", SHIPPED, ids=lambda s: s.key)
every_gpu = pytest.mark.parametrize("sheet", GPUS, ids=lambda s: s.key)

ASKED_FOR = {  # by the names people use
    "v100": "v100_sxm2",
    "v100-pcie": "v100_pcie",
    "t4": "t4",
    "a100": "a100_80_sxm",
    "a100-40gb": "a100_40_sxm",
    "a100-pcie": "a100_80_pcie",
    "a100-40gb-pcie": "a100_40_pcie",
    "a10": "a10",
    "a10g": "a10g",
    "l4": "l4",
    "l40s": "l40s",
    "3090": "rtx3090",
    "4090": "rtx4090",
    "RTX 5090": "rtx5090",
    "rtx-pro-6000-max-q": "rtx_pro_6000_maxq",
    "H100": "h100_sxm",
    "h100_pcie": "h100_pcie",
    "h200": "h200_sxm",
    "b200": "b200_sxm",
    "orin": "orin_agx64",
    "orin-nano": "orin_nano_8gb",
    "jetson orin nano super": "orin_nano_super",
    "orin-nx": "orin_nx_16gb",
    "orin nx 8gb": "orin_nx_8gb",
    "jetson agx orin 32gb": "orin_agx32",
    "RTX 3060": "rtx3060",
    "4060": "rtx4060",
    "rtx4070": "rtx4070",
    "5070": "rtx5070",
    "RTX 5080": "rtx5080",
    "A6000": "rtx_a6000",
    "RTX 6000 Ada": "rtx6000_ada",
    "MI300X": "mi300x",
    "epyc": "epyc_zen3_2cpu",
    "EPYC 7763": "epyc_7763",
    "AMD EPYC 9654 96-Core Processor": "epyc_9654",
    "epyc-genoa": "epyc_9654",
    "Xeon Platinum 8490H": "xeon_8490h",
    "Ryzen 9 7950X": "ryzen_7950x",
    "9950X": "ryzen_9950x",
}
TENSOR_RATES = {  # dense FP16 FLOPs of one SM a clock
    **dict.fromkeys(("GV100", "TU104", "GA102", "GA106", "AD102", "AD104", "AD107"), 1024),
    **dict.fromkeys(("GB202", "GB203", "GB205"), 1024),
    **dict.fromkeys(("GA100", "GA10B", "CDNA3"), 2048),
    "GH100": 4096,
    "GB100": 8192,
}
WRONG_ELSEWHERE = [  # tables that are in use, and what the truth is mistaken for in them
    ("h100", "bf16", 1979),  # sparse (PyTorch's device_info.py)
    ("h100", "tf32", 156),  # the A100's
    ("h100", "tf32", 989),  # sparse
    ("l4", "bf16", 242),  # sparse
    ("h200", "fp16", 1979),
    ("4090", "fp16", 330),  # FP16 accumulation
    ("5090", "fp16", 838),  # sparse, FP16 accumulation
    ("3090", "fp16", 142),
    ("orin", "fp16", 137.5),  # half of the sparse INT8 TOPS with the DLA
    ("a10g", "fp16", 125),  # the A10's
    ("l40s", "fp16", 733),
    ("a6000", "fp16", 309.7),  # sparse
    ("rtx-6000-ada", "fp16", 728.5),  # sparse
    ("3060", "fp16", 102),  # FP16 accumulation, sparse
    ("mi300x", "bf16", 2615),  # sparse
    ("mi300x", "fp16", 383),  # the MI250X's
    ("orin-nx", "fp16", 50),  # INT8
]


def test_the_devices_asked_for_are_there():
    assert {name: load_sheet(name).key for name in ASKED_FOR} == ASKED_FOR


@every_gpu
def test_tensor_peak_is_sms_times_rate_times_clock(sheet):
    computed = sheet.sms * sheet.tensor_flops_per_clk_per_sm * sheet.boost_ghz / 1e3
    assert sheet.peak("fp16") == pytest.approx(computed, rel=0.013)


@every_gpu
def test_tensor_rate_is_the_chips(sheet):
    chip = sheet.architecture.split()[-1]
    halved = "GeForce" in sheet.name or sheet.key == "a10g"  # with FP32 accumulation
    assert sheet.tensor_flops_per_clk_per_sm == TENSOR_RATES[chip] // (2 if halved else 1)


@every_sheet
def test_fp32_peak_is_units_times_rate_times_clock(sheet):
    computed = sheet.units * sheet.fp32_flops_per_clk * sheet.boost_ghz / 1e3
    # the vector units of Hopper and Blackwell go to clocks that its tensor cores do not
    above = 0.09 if sheet.key.startswith(("h100", "h200", "b200")) else 0.006
    assert computed * 0.994 <= sheet.peak("fp32") <= computed * (1 + above)


@every_gpu
def test_formats_agree(sheet):
    if sheet.peak("tf32") is not None:
        assert sheet.peak("tf32") == pytest.approx(sheet.peak("fp16") / 2, rel=0.013)
        assert sheet.peak("bf16") == sheet.peak("fp16")
    assert sheet.peak("amp-fp16") == sheet.peak("fp16")
    assert sheet.peak("amp-bf16") == sheet.peak("bf16")


@every_sheet
def test_every_cell_has_its_source(sheet):
    cells = list(sheet.cells())
    optional = [v for v in (sheet.cores, sheet.pace) if v is not None]
    assert len(cells) == (15 if sheet.kind == "gpu" else 12 + len(optional))
    for field, value in cells:
        assert len(sheet.sources[field]) > 10, field
        assert value or sheet.notes.get(field) or "no measurement" in sheet.source(field), field


@every_sheet
def test_a_sheet_is_told_apart(sheet):
    assert sheet.key in sheet_names()
    assert sheet.short in sheet.names
    assert not sheet.probed


@every_sheet
def test_the_short_name_can_stand_in_a_budget(sheet):
    budget = parse_budget(f"5ms@{sheet.short}:b1:fp16")
    assert (budget.device, budget.batch) == (sheet.short, 1)


def test_names_are_unique():
    owners: dict[str, str] = {}
    for sheet in SHIPPED:
        for name in sheet.names:
            folded = name.casefold().replace("_", "-")
            assert owners.setdefault(folded, sheet.key) == sheet.key


def test_only_jetsons_share_what_they_report():
    owners: dict[str, set[str]] = {}
    for sheet in SHIPPED:
        for name in sheet.reported:
            owners.setdefault(name.casefold(), set()).add(sheet.key)
    shared = {key for keys in owners.values() if len(keys) > 1 for key in keys}
    assert all(key.startswith("orin_") for key in shared)


@pytest.mark.parametrize("name", ["mi300x", "rtx4060", "orin-nx"])
def test_what_was_never_checked_says_so(name):
    assert "never checked" in " ".join(load_sheet(name).warnings)


def test_sources_are_used_and_written_once():
    for folder in folders("profiles"):
        for path in folder.glob("*.yaml"):
            data = yaml.safe_load(path.read_text())
            if "kind" not in data:
                continue
            cells = [v for v in data.values() if isinstance(v, dict) and "source" in v]
            cells += list(data["peak_tflops"].values())
            assert {c["source"] for c in cells} == set(data["sources"]), path.name


@pytest.mark.parametrize(("name", "precision", "wrong"), WRONG_ELSEWHERE)
def test_figures_wrong_elsewhere_are_not_ours(name, precision, wrong):
    assert abs(load_sheet(name).peak(precision) / wrong - 1) > 0.3


def test_bandwidths_wrong_elsewhere_are_not_ours():
    assert load_sheet("l4").bandwidth_gbps == 300  # 3350 in PyTorch's device_info.py
    assert load_sheet("5090").bandwidth_gbps == 1792  # 1.2 TB/s on a page
    assert load_sheet("b200").sms == 148  # 144, 160 and 192 on pages


@pytest.mark.parametrize("name", ["v100", "t4"])
def test_formats_a_device_lacks_are_not_there(name):
    sheet = load_sheet(name)
    assert sheet.peak("bf16") is None and sheet.peak("tf32") is None
    assert "tensor cores" in sheet.source("peak_tflops.bf16")


@pytest.mark.parametrize("name", ["t4", "l4", "orin"])
def test_weak_power_supplies_are_warned_of(name):
    assert "wide interval" in " ".join(load_sheet(name).warnings)


SUSTAINED = {"v100": 0.97, "a100": 0.91, "a100-40gb": 0.81, "h100": 0.76, "t4": 0.48, "l4": 0.28}


@pytest.mark.parametrize(("name", "share"), SUSTAINED.items())
def test_sustained_shares_that_were_measured(name, share):
    assert load_sheet(name).sustained == share


def test_others_do_not_invent_one():
    assert load_sheet("3090").sustained is None
    assert "no measurement" in load_sheet("3090").source("sustained")


@pytest.mark.parametrize(
    ("name", "hint"),
    [("a1000", "a100"), ("rtx4900", "rtx40[679]0"), ("h10", "h100"), ("jetson-orin-nz", "orin")],
)
def test_an_unknown_name_gets_the_nearest(name, hint):
    with pytest.raises(UnknownName, match=rf"Did you mean .*{hint}.*, .*, .*\?"):
        load_sheet(name)


def written(tmp_path, name="mine.yaml", **changes):
    data = yaml.safe_load((folders("profiles")[1] / "l4.yaml").read_text())
    for field, value in changes.items():
        data.pop(field) if value is None else data.update({field: value})
    path = tmp_path / name
    path.write_text(yaml.safe_dump(data))
    return path


def test_a_sheet_of_ones_own_by_path(tmp_path):
    sheet = load_sheet(str(written(tmp_path, name="mine.yaml")))
    assert (sheet.key, sheet.sms) == ("mine", 60)


def test_an_edited_sheet_is_read_again(tmp_path):
    path = written(tmp_path)
    assert load_sheet(str(path)).name == "NVIDIA L4"
    path.write_text(path.read_text().replace("name: NVIDIA L4", "name: another"))
    assert load_sheet(str(path)).name == "another"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sms": {"value": 60}}, "sms.source is missing"),
        ({"sms": {"value": 60, "source": "hearsay"}}, "must be a key of `sources`"),
        ({"sms": None}, "sms is missing: a gpu has one"),
        ({"bandwidth_gbps": {"value": None, "source": "l4"}}, "bandwidth_gbps"),
        ({"bandwidth_gbps": {"value": -1, "source": "l4"}}, "bandwidth_gbps"),
        ({"kind": "tpu"}, "kind must be 'gpu' or 'cpu'"),
        ({"aliases": ["Has Spaces"]}, "aliases"),
        ({"nvlink": 5}, "nvlink is not a known field"),
        ({"sustained": {"value": 1.5, "source": "l4"}}, "sustained"),
    ],
)
def test_a_sheet_that_is_wrong_is_refused(tmp_path, changes, message):
    path = written(tmp_path, **changes)
    with pytest.raises(ConfigError, match=message) as caught:
        load_sheet(str(path))
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def test_a_sheet_can_be_made_in_code():
    sheet = Sheet(key="x", name="x", kind="cpu", bandwidth_gbps=1.0, peak_tflops={"fp32": 1.0})
    assert [sheet.peak(p) for p in PEAKS] == [1.0, None, None, None]
    assert sheet.source("sms") == "no source given"


@every_gpu
def test_every_gpu_says_what_feeds_it(sheet):
    assert sheet.host is not None and sheet.source("host")
    assert load_host(sheet.host).half_width > 0


def test_a_sheet_without_a_host_is_of_a_host_not_known():
    path = next(f for f in folders("profiles") if f.is_dir()) / "a100_80_sxm.yaml"
    written = yaml.safe_load(path.read_text())
    del written["host"]
    assert Sheet.model_validate(SheetFile.model_validate(written).unwrap("mine")).host is None
