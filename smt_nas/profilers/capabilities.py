"""What torch can measure on this machine: its build, its devices, their precisions."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from importlib import metadata
from typing import get_args

import torch

from smt_nas.conditions import Conditions, Precision
from smt_nas.devices.doctor import Check
from smt_nas.errors import MeasurementError
from smt_nas.runtime.torch_device import check, open_device
from smt_nas.runtime.torchvision_ops import check_torchvision


def torch_checks() -> list[Check]:
    """The doctor's lines on its build, on compiling, and on the precisions of each device."""
    return list(_list_checks())


def _list_checks() -> Iterator[Check]:
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "a CPU build"
    yield Check("torch", "ok", f"{torch.__version__}, {build}")
    yield _check_torchvision()
    devices = ["cpu"]
    try:
        open_device("cuda")
    except MeasurementError as error:
        yield Check("torch on a GPU", "missing", str(error).removeprefix("cuda: "))
    else:
        devices += [f"cuda:{i}" for i in range(torch.cuda.device_count())]
        yield _check_triton()
    for device in devices:
        yield _check_precisions(device)


def _check_precisions(device: str) -> Check:
    able, refused = list[str](), list[str]()
    for precision in get_args(Precision):
        try:
            check(Conditions(precision=precision), open_device(device))
        except MeasurementError:
            refused.append(precision)
        else:
            able.append(precision)
    finding = (", ".join(able) or "none") + (f"; not {', '.join(refused)}" if refused else "")
    return Check(f"{device} precisions", "ok" if able else "missing", finding)


def _check_torchvision() -> Check:
    state = check_torchvision()
    if state == "absent":
        what = "not installed, for networks by timm:NAME and training"
        return Check("torchvision", "missing", what, "pip install 'smt-nas[train]'")
    version = metadata.version("torchvision")
    if state == "whole":
        return Check("torchvision", "ok", f"{version}, its operators load")
    what = (
        f"{version} is not built for this torch: nms is declared for it; transforms, models and "
        "timm work, roi_pool, deform_conv2d and torchvision.io do not"
    )
    return Check("torchvision", "ok", what)


def _check_triton() -> Check:
    if importlib.util.find_spec("triton") is None:
        what = "not installed, for --form compile on a GPU"
        return Check("triton", "missing", what, "pip install triton")
    return Check("triton", "ok", "for --form compile on a GPU")
