"""`Conditions`: under which a latency, a throughput or an energy holds. Part of every key."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from smt_nas.budgets import MAX_BATCH

Precision = Literal["fp32", "tf32", "fp16", "bf16", "amp-fp16", "amp-bf16"]
Mode = Literal["eager", "compile", "graph", "fused", "onnx", "openvino"]
MODES: tuple[Mode, ...] = get_args(Mode)
DEPLOYED: tuple[Mode, ...] = ("onnx", "openvino")
"""Modes in which a runtime of its own runs the network, on the CPU."""


class Conditions(BaseModel):
    """How a network is run. Figures of unequal conditions are never compared.

    Attributes:
        batch: images per forward.
        precision: `fp32` (TF32 off), `tf32` (fp32 weights, TF32 on), `fp16`/`bf16` (weights and
            activations), `amp-fp16`/`amp-bf16` (fp32 weights under autocast).
        mode: the form of the network: `eager`, `compile` (torch.compile), `graph` (eager ops in one
            CUDA graph), `fused` (constants folded, eager), `onnx` (the same by onnxruntime) or
            `openvino` (by OpenVINO).
        channels_last: the images' memory format.
        train: a training step (forward, backward, optimizer) instead of an inference.
        image_size: pixels of the square image; None for the network's own.
        threads: CPU threads; None on a GPU, and for all cores on a CPU.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    batch: Annotated[int, Field(strict=True, ge=1, le=MAX_BATCH)] = 1
    precision: Precision = "fp32"
    mode: Mode = "eager"
    channels_last: bool = False
    train: bool = False
    image_size: Annotated[int, Field(strict=True, ge=32, le=8192)] | None = None
    threads: Annotated[int, Field(strict=True, ge=1, le=1024)] | None = None

    def __str__(self) -> str:
        """Say what differs from the default, e.g. `b8 amp-fp16 compile`."""
        words = [f"b{self.batch}", self.precision, self.mode]
        words += ["channels-last"] if self.channels_last else []
        words += ["train"] if self.train else []
        words += [f"{self.image_size}px"] if self.image_size else []
        words += [f"{self.threads} thread{'s' * (self.threads > 1)}"] if self.threads else []
        return " ".join(words)
