"""`resolve`: the one grammar of devices."""

import shutil
import sys

import pytest

from smt_nas.devices.device import load_device
from smt_nas.devices.registry import all_sheets, load_sheet
from smt_nas.devices.resolve import DeviceRef, parse_device, resolve
from smt_nas.errors import ConfigError, MeasurementError, UnknownName
from smt_nas.files import folders
from tests.fakes import nvml as fakes
from tests.fakes.nvml import FakeNvml, GpuState

SPELLINGS = {
    "RTX 4090": "rtx4090",
    "4090": "rtx4090",
    "NVIDIA GeForce RTX 3090": "rtx3090",
    "A100-SXM4-80GB": "a100_80_sxm",
    "NVIDIA A100 Tensor Core GPU": "a100_80_sxm",
    "A100 PCIe": "a100_80_pcie",
    "A100-PCIE-40GB": "a100_40_pcie",
    "40GB A100 PCIe": "a100_40_pcie",
    "a100 40gb": "a100_40_sxm",
    "T4 16GB": "t4",
    "NVIDIA H100 80GB HBM3": "h100_sxm",
    "NVIDIA H100 80GB HBM2e": "h100_pcie",
    "H100 80GB": "h100_sxm",  # as `h100` alone
    "H100 SXM5 80GB": "h100_sxm",
    "H100 PCIe": "h100_pcie",
    "H200 SXM5": "h200_sxm",
    "B200": "b200_sxm",
    "V100-SXM2-32GB": "v100_sxm2",
    "V100 32GB": "v100_sxm2",
    "L4": "l4",
    "L40S 48GB": "l40s",
    "A10G 24GB": "a10g",
    "jetson agx orin 64gb": "orin_agx64",
    "Orin AGX": "orin_agx64",
    "jetson orin nano": "orin_nano_8gb",
    "Jetson Orin Nano 8GB": "orin_nano_8gb",
    "Jetson Orin Nano Developer Kit": "orin_nano_8gb",
    "Jetson Orin NX 16GB": "orin_nx_16gb",
    "Orin NX 8GB": "orin_nx_8gb",
    "jetson agx orin 32gb": "orin_agx32",
    "RTX A6000": "rtx_a6000",
    "NVIDIA RTX 6000 Ada Generation": "rtx6000_ada",
    "RTX 3060 12GB": "rtx3060",
    "RTX4070": "rtx4070",
    "AMD Instinct MI300X": "mi300x",
    # as nvidia-smi prints them
    "GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-2600e701-8d2f-704c-06bd-ca16a9306dfe)": "a100_40_sxm",
    "GPU 1: NVIDIA GeForce RTX 4090 (UUID: GPU-8d2f)": "rtx4090",
    "NVIDIA A100-SXM4-40GB": "a100_40_sxm",
    "NVIDIA A100 80GB PCIe": "a100_80_pcie",
    "NVIDIA GeForce RTX 4090": "rtx4090",
    "Tesla V100-SXM2-16GB": "v100_sxm2",
    "NVIDIA L40S": "l40s",
    "NVIDIA A10G": "a10g",
    "NVIDIA H100 PCIe": "h100_pcie",
    "NVIDIA H200": "h200_sxm",
    # as lspci does
    "NVIDIA Corporation GA102GL [RTX A6000] (rev a1)": "rtx_a6000",
    "NVIDIA Corporation AD102 [GeForce RTX 4090]": "rtx4090",
}
OTHER_DEVICES = [  # near to one that is known, and not it
    "jetson orin nano 4gb",
    "Jetson Orin NX Super",
    "Jetson Orin Nano 16GB",
    "RTX 4090 Laptop GPU",
    "RTX 4090 D",
    "RTX 3090 Ti",
    "RTX PRO 6000 Blackwell Workstation Edition",
    "H100 NVL",
    "GH200",
    "GB200",
    "H20",
    "L40",
    "A30",
    "A100 48GB",
    "V100 SXM3 32GB",
    "T4 SXM",
    "RTX 3060 Ti",
    "RTX 3060 8GB",
    "RTX 3060 Laptop GPU",
    "RTX 4060 Ti 16GB",
    "RTX 4070 Ti",
    "4070ti",
    "RTX 4070 SUPER",
    "RTX 4070 Ti SUPER",
    "NVIDIA GeForce RTX 4070 Laptop GPU",
    "RTX 5070 Ti",
    "RTX 5080 Laptop GPU",
    "Quadro RTX 6000",
    "RTX 6000",
    "RTX A6000 Ada",
    "RTX 5000 Ada Generation",
    "RTX A5000",
    "NVIDIA H100 NVL",
    "NVIDIA GH200 480GB",
    "NVIDIA A100-SXM-64GB",
    "A100 10GB",
    "GRID A100-10C",
    "Tesla V100S-PCIE-32GB",
    "MI300A",
    "MI325X",
    "MI250X",
]


@pytest.fixture
def gpus(monkeypatch):
    """Let NVML tell of these GPUs."""

    def install(*states):
        nvml = FakeNvml(*states) if states else fakes.without_driver()
        monkeypatch.setitem(sys.modules, "pynvml", nvml)

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    install()
    return install


@pytest.mark.parametrize(("text", "key"), SPELLINGS.items())
def test_what_people_type(gpus, text, key):
    ref = resolve(text)
    assert (ref.device, ref.here, ref.is_own) == (key, None, False)
    assert " " not in ref.label and resolve(ref.label).device == key


def test_every_name_of_every_sheet_is_its_own(gpus):
    for sheet in all_sheets():
        reported = sheet.reported if sheet.kind == "gpu" else ()
        for name in (*sheet.names, sheet.name, *reported):
            for text in (name, name.upper(), name.replace("-", " ").replace("_", " ")):
                if "nvgpu" in text.casefold() or text.casefold() == "orin":
                    continue  # what several Jetsons call themselves
                assert resolve(text).device == sheet.key, text


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("Xeon w9-3495X", "xeon_8490h"),
        ("RTX 4070 Ti", "rtx4070"),
        ("Quadro RTX 6000", "rtx_a6000"),
        ("Ryzen 7 7840HS", "ryzen_7950x"),
        ("Threadripper 3990X", "ryzen_9950x"),
    ],
)
def test_the_nearest_is_of_its_brand(gpus, text, near):
    with pytest.raises(UnknownName, match=rf"Did you mean {near}, "):
        resolve(text)


def test_what_all_jetsons_call_themselves_is_none_of_them(gpus):
    with pytest.raises(ConfigError, match=r"which may be .*orin_nano_8gb or .*orin_nx_16gb"):
        resolve("Orin (nvgpu)")


@pytest.mark.parametrize("text", ["M1", "Apple M2 Max", "m3-pro", "M4 Ultra", "mps"])
def test_apple_s_are_refused_with_the_reason(gpus, text):
    with pytest.raises(UnknownName, match=r"could be checked on one.*Measure on it"):
        resolve(text)


@pytest.mark.parametrize("text", ["Tesla M4", "Tesla M40"])
def test_a_tesla_is_no_apple(gpus, text):
    with pytest.raises(UnknownName, match="Did you mean"):
        resolve(text)


@pytest.mark.parametrize("text", OTHER_DEVICES)
def test_a_wrong_board_is_worse_than_a_refusal(gpus, text):
    with pytest.raises(UnknownName, match=r"Did you mean [a-z0-9_]+, [a-z0-9_]+, [a-z0-9_]+\?"):
        resolve(text)


def test_devices_of_this_machine(gpus):
    gpus(GpuState(), GpuState(name="Tesla T4", uuid="GPU-b"))
    refs = [resolve(text) for text in ("cpu", "gpu", "CUDA", "cuda:0", "cuda:1", "T4")]
    assert [r.here for r in refs] == ["cpu", "cuda:0", "cuda:0", "cuda:0", "cuda:1", "cuda:1"]
    assert [r.is_own for r in refs] == [True] * 5 + [False]
    assert [r.label for r in refs] == ["cpu", "gpu", "cuda", "cuda:0", "cuda:1", "t4"]
    assert refs[1].sheet == load_sheet("a100") and resolve().label == "gpu"
    assert "bf16" in refs[1].precisions and "bf16" not in refs[4].precisions


def test_a_gpu_that_nvml_does_not_describe_may_still_be_torch_s(gpus):
    ref = resolve("cuda:1")
    assert (ref.sheet, ref.require_here(), ref.kind) == (None, "cuda:1", "gpu")
    with pytest.raises(MeasurementError, match="Install the NVIDIA driver"):
        ref.require_sheet()
    with pytest.raises(MeasurementError, match="Install the NVIDIA driver"):
        load_device("gpu")
    assert resolve().label == "cpu"


def test_a_gpu_that_no_sheet_describes_is_known_by_its_name(gpus):
    gpus(GpuState(name="NVIDIA GeForce RTX 4080", capability=(8, 9), cores=9728))
    ref = resolve("RTX 4080")
    assert ref.here == "cuda:0" and ref.require_sheet().probed


def test_a_device_that_is_not_here_says_what_is(gpus):
    gpus(GpuState())
    assert resolve("A100-SXM4-80GB").require_here() == "cuda:0"
    rule = r"rtx-4090: is not in this machine \(it has cpu, cuda:0\)\."
    with pytest.raises(MeasurementError, match=rule):
        resolve("RTX 4090").require_here()


def test_a_slice_is_no_device(gpus):
    with pytest.raises(MeasurementError, match="a share of a GPU"):
        resolve("NVIDIA A100-SXM4-80GB MIG 1g.10gb")


def test_what_two_devices_bear_names_both(gpus, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "profiles").mkdir()
    text = (folders("profiles")[1] / "l4.yaml").read_text().replace("NVIDIA L4", "NVIDIA X9")
    for key in ("one", "two"):
        (tmp_path / f"profiles/{key}.yaml").write_text(text.replace("[]", f"[{key}-x9]"))
    with pytest.raises(ConfigError, match=r"\(got 'NVIDIA X9', which may be one or two\)"):
        resolve("NVIDIA X9")
    assert resolve("one").device == "one" and resolve("two x9").device == "two"


def test_a_path_to_a_sheet(gpus, tmp_path):
    path = tmp_path / "My L4.yaml"
    shutil.copy(folders("profiles")[1] / "l4.yaml", path)
    assert resolve(str(path)).device == "My L4" and resolve(str(path)).label == str(path)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a100", ("a100", None, None, None)),
        ("RTX 4090:b8:FP16", ("rtx-4090", 8, "fp16", None)),
        ("a100:graph:b8", ("a100", 8, None, "graph")),
        ("cuda:1:b8", ("cuda:1", 8, None, None)),
        ("b8", (None, 8, None, None)),
        ("B200", ("b200", None, None, None)),  # alone it is the GPU
        ("b200_sxm:b200", ("b200_sxm", 200, None, None)),
        ("sheets/Mine.yaml:fp16", ("sheets/Mine.yaml", None, "fp16", None)),
    ],
)
def test_conditions_follow_a_device(text, parts):
    assert parse_device(text) == parts


def test_what_is_kept_in_run_yaml(gpus):
    ref = resolve("RTX 4090")
    kept = ref.model_dump(mode="json")
    assert list(kept) == ["label", "device", "name", "kind", "here", "precisions"]
    again = DeviceRef.model_validate(kept)
    assert again.sheet is None and again.model_dump() == ref.model_dump()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("b200", ("b200", None, None, None)),
        ("b200:fp16", ("b200", None, "fp16", None)),
        ("b200:b8", ("b200", 8, None, None)),
        ("a100:b200", ("a100", 200, None, None)),
        ("b8", (None, 8, None, None)),
        ("cuda:1:b8:fp16", ("cuda:1", 8, "fp16", None)),
    ],
)
def test_a_device_whose_name_reads_as_a_batch(text, expected):
    assert parse_device(text) == expected
