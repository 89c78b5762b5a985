"""`DeviceName`: what tells devices apart, and what is only another spelling."""

import pytest

from smt_nas.devices.names import DeviceName, is_named

A100 = [DeviceName.parse(n) for n in ("a100", "a100-80gb", "NVIDIA A100-SXM4-80GB")]
H200 = [DeviceName.parse(n) for n in ("h200", "h200-sxm", "NVIDIA H200 SXM 141 GB")]
CARD = [DeviceName.parse("rtx-4090")]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("RTX 4090", "rtx4090"),
        ("RTX_4090", "NVIDIA GeForce RTX 4090"),
        ("Tesla T4", "NVIDIA T4"),
        ("A100-SXM4-80GB", "nvidia a100 sxm4 80 GB"),
        ("A100SXM4-80GB", "A100 SXM4 80GiB"),
        ("NVIDIA(R) A100 Tensor Core GPU", "a100"),
        ("RTX PRO 6000 Max-Q", "rtxpro6000maxq"),
    ],
)
def test_spellings_of_one_name(one, other):
    assert DeviceName.parse(one) == DeviceName.parse(other)


def test_a_name_is_taken_apart():
    name = DeviceName.parse("NVIDIA H100 80GB HBM3")
    assert name == DeviceName(("h100",), memory_gb=80, memory_kind="hbm3")
    assert name.spelling == "h100 80gb hbm3"
    assert DeviceName.parse("AuthenticAMD family 25 model 1") != DeviceName.parse(
        "AuthenticAMD family 1 model 25"
    )


def test_a_slice_knows_the_whole():
    name = DeviceName.parse("NVIDIA A100-SXM4-80GB MIG 1g.10gb")
    assert name.mig and name.whole == DeviceName.parse("A100-SXM4-80GB")


@pytest.mark.parametrize(
    ("text", "names", "memory_gb", "meant"),
    [
        ("A100", A100, 80, True),
        ("A100 SXM4", A100, 80, True),
        ("80GB A100", A100, 80, True),
        ("A100 40GB", A100, 80, False),
        ("A100 PCIe", A100, 80, False),
        ("A100 SXM5", A100, 80, False),
        ("A100 HBM2e", A100, 80, True),
        ("A100 MIG 1g.10gb", A100, 80, False),
        ("H200 SXM5", H200, 141, True),
        ("RTX 4090 24GB", CARD, 24, True),
        ("RTX 4090 16GB", CARD, 24, False),
        ("RTX 4090 PCIe", CARD, 24, True),
        ("RTX 4090 SXM", CARD, 24, False),
        ("RTX 4090 Laptop GPU", CARD, 24, False),
        ("GPU", CARD, 24, False),
    ],
)
def test_what_is_meant(text, names, memory_gb, meant):
    assert is_named(DeviceName.parse(text), names, memory_gb) is meant


@pytest.mark.parametrize("uuid", ["MIG-41b36ccb-1f0e-5d3a", "MIG-GPU-3f2a/1/0", "mig 1g.10gb"])
def test_a_slice_by_its_uuid_is_a_slice(uuid):
    assert DeviceName.parse(uuid).mig
