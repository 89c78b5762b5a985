"""What a device can run: which there are, and which conditions each refuses, with the reason."""

from __future__ import annotations

import re
import warnings

import torch
from torch import nn

from smt_nas.conditions import DEPLOYED, Conditions, Mode, Precision
from smt_nas.errors import MeasurementError, one_line
from smt_nas.runtime.nvml import RELOAD
from smt_nas.runtime.torch_settings import keep_random_state

DTYPES: dict[Precision, torch.dtype] = {
    "fp32": torch.float32,
    "tf32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
    "amp-fp16": torch.float16,
    "amp-bf16": torch.bfloat16,
}
"""What matrix products and convolutions are computed in; `tf32` stores fp32."""

_DEPLOYED_PRECISIONS: dict[Mode, tuple[Precision, ...]] = {
    "onnx": ("fp32",),
    "openvino": ("fp32", "bf16"),
}
_MISMATCH = re.compile(r"\b(?:Error )?80[34]\b|version mismatch|unsupported display driver", re.I)
_AMPERE = (8, 0)  # compute capability of the first GPUs with TF32 and BF16


class SharedGpu(MeasurementError):
    """A slice of a GPU (MIG): others use the rest of it."""


def open_device(device: str) -> torch.device:
    """Find a device of this machine: `cpu`, `cuda`, `cuda:1`.

    Raises:
        MeasurementError: no such device here, with the reason: a CPU build of torch, no driver,
            a driver without a GPU, fewer GPUs, a MIG slice.
    """
    if device == "cpu":
        return torch.device("cpu")
    named = re.fullmatch(r"cuda(?::(\d+))?", device)
    if named is None:
        raise MeasurementError(f"device: must be cpu, cuda or cuda:N (got {device!r}).")
    _check_driver(device)
    count, wanted = torch.cuda.device_count(), int(named[1] or 0)
    if wanted >= count:
        known = ", ".join(f"cuda:{i}" for i in range(count)) or "none"
        raise MeasurementError(f"{device}: this machine has no such GPU. It has {known}.")
    name = torch.cuda.get_device_name(wanted)
    if "MIG" in name.split():
        raise SharedGpu(
            f"{device}: a share of a GPU cannot be measured (got {name}), as others use the rest. "
            "Measure on a whole one."
        )
    return torch.device("cuda", wanted)


def _check_driver(device: str) -> None:
    if torch.version.cuda is None:
        raise MeasurementError(
            f"{device}: this torch is a CPU build (got {torch.__version__}). "
            "Install a CUDA build of torch, or measure on cpu."
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it says what the error below says
        try:
            torch.cuda.init()  # type: ignore[no-untyped-call]
        except (RuntimeError, AssertionError) as error:
            way = RELOAD if _MISMATCH.search(str(error)) else "Measure on cpu."
            raise MeasurementError(
                f"{device}: no GPU can be used ({one_line(error)}). {way}"
            ) from error


def check(conditions: Conditions, device: torch.device) -> None:
    """Refuse what a device cannot do.

    Raises:
        MeasurementError: with the reason.
    """
    reason = _refuse_mode(conditions, device) or refusal(conditions.precision, device)
    if reason:
        raise MeasurementError(f"{conditions} on {device}: cannot be measured: {reason}")


def _refuse_mode(conditions: Conditions, device: torch.device) -> str | None:
    if conditions.mode == "graph":
        if device.type == "cpu":
            return "a CUDA graph needs a GPU. Use --form eager or compile."
        if conditions.train:
            return "training is not captured in a CUDA graph. Use --form eager or compile."
    if conditions.mode in DEPLOYED:
        if device.type != "cpu":
            return f"{conditions.mode} is run on the CPU here. Use --form fused, compile or graph."
        if conditions.precision not in _DEPLOYED_PRECISIONS[conditions.mode]:
            able = " or ".join(_DEPLOYED_PRECISIONS[conditions.mode])
            return f"{conditions.mode} computes in {able} here. Use one of these."
    if conditions.train and conditions.mode in (*DEPLOYED, "fused"):
        return f"{conditions.mode} is a form for inference. Use --form eager or compile."
    if conditions.threads is not None and device.type != "cpu":
        return "threads are of a CPU. Leave them out."
    return None


def refusal(precision: Precision, device: torch.device) -> str | None:
    """Why a device does not compute in a precision; None where it does."""
    if precision == "fp32":
        return None
    if device.type == "cpu":
        if precision == "tf32":
            return "TF32 is a format of NVIDIA GPUs from Ampere on. Use fp32 or bf16."
        return _try_in_torch(precision, device)
    capability = torch.cuda.get_device_capability(device)
    if precision in ("tf32", "bf16", "amp-bf16") and capability < _AMPERE:
        word = precision.removeprefix("amp-").upper()
        got = ".".join(map(str, capability))
        return f"{word} needs compute capability 8.0, Ampere (got {got}). Use fp16 or fp32."
    return None


def _try_in_torch(precision: Precision, device: torch.device) -> str | None:
    """Try what every network is made of in that type; None where torch computes it."""
    dtype, amp = DTYPES[precision], precision.startswith("amp")
    with keep_random_state(device):
        parts = nn.Sequential(nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(16, 4), nn.LayerNorm(4))
    parts.to(device=device, dtype=torch.float32 if amp else dtype)
    image = torch.ones(1, 4, 4, 4, device=device, dtype=torch.float32 if amp else dtype)
    try:
        with torch.inference_mode(), torch.autocast(device.type, dtype, enabled=amp):
            parts(image)
    except RuntimeError as error:
        return f"torch refuses ({one_line(error)}). Use fp32."
    return None
