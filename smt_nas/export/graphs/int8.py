"""ONNX in int8, by onnxruntime's quantisation of the fp32 file.

By default weights of MatMul and Gemm are stored in int8 and activations are quantised as they come:
no calibration. With the user's images the ranges of activations are fitted, and convolutions are
quantised too (QDQ). What it costs in logits and gains in time is measured and told; a file that is
slower and worse is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smt_nas.conditions import Conditions
from smt_nas.errors import ExportError
from smt_nas.export.exporter import ExportOptions
from smt_nas.export.graphs.onnx_file import export_onnx
from smt_nas.export.graphs.traced_program import explain_errors
from smt_nas.export.manifest import Manifest
from smt_nas.export.verification import difference
from smt_nas.runtime.imports import quiet_libraries

if TYPE_CHECKING:
    from smt_nas.export.source import ExportSource
    from smt_nas.profilers.compare import Verdict

_PRODUCTS = ["MatMul", "Gemm"]
_NOISE = 64  # images that logits are compared on where the user names none
_SMALL = 0.02  # of the logits' spread: less is no worse
_SECONDS = 3.0  # of timing


@dataclass(frozen=True)
class Int8Effect:
    """What int8 does to a network.

    Attributes:
        deviation: root mean square of the change of logits, as a share of their spread.
        agreement: share of images with the same first class.
        images: how many.
        latency_ms_fp32: median of one call of the fp32 file, one thread.
        latency_ms_int8: likewise of the int8 file.
        verdict: of the second relative to the first.
    """

    deviation: float
    agreement: float
    images: int
    latency_ms_fp32: float
    latency_ms_int8: float
    verdict: str

    def describe(self, kind: str) -> str:
        """In one line."""
        ratio = self.latency_ms_int8 / self.latency_ms_fp32
        return (
            f"Against fp32, on {self.images} {kind}: logits deviate by {self.deviation:.1%} of "
            f"their spread, the first class agrees on {self.agreement:.1%}; {ratio:.2f}x its "
            f"latency ({self.latency_ms_fp32:.3g} ms to {self.latency_ms_int8:.3g} ms, one "
            f"thread: {self.verdict})."
        )


def export_int8(source: ExportSource, folder: Path, options: ExportOptions) -> Manifest:
    """Write `NAME.onnx` in int8.

    Raises:
        ConfigError: `--calibrate` holds no images.
        ExportError: an operator has no form in ONNX, or int8 is slower and worse here.
    """
    images = _read_images(source, options)
    plain = export_onnx(source, folder, replace(options, name=f"{options.name}-fp32"))
    path = folder / f"{options.name}.onnx"
    calibrated = options.calibration is not None
    with explain_errors("--format onnx-int8", "use --format onnx"), quiet_libraries():
        if calibrated:
            _quantise_static(plain.files[0], path, images, plain.batch)
        else:
            _quantise_dynamic(plain.files[0], path)
    effect = measure_effect(plain, path, images)
    kind = f"images of {options.calibration.name}" if options.calibration else "images of noise"
    refuse_loss(effect, kind)
    plain.files[0].unlink()
    how = (
        "Static: ranges fitted to the images of --calibrate, convolutions too."
        if calibrated
        else "Dynamic: MatMul and Gemm alone, no calibration."
    )
    return replace(
        plain,
        format="onnx-int8",
        files=(path,),
        figures={
            "logit_deviation": effect.deviation,
            "top1_agreement": effect.agreement,
            "latency_ms_fp32": effect.latency_ms_fp32,
            "latency_ms_int8": effect.latency_ms_int8,
        },
        notes=(*plain.notes, how, effect.describe(kind)),
    )


def measure_effect(plain: Manifest, path: Path, images: NDArray[np.float32]) -> Int8Effect:
    """Run both files on images (N, C, H, W), and time them in turns as `profile` does."""
    import torch

    from smt_nas.runtime.backends import load_graph

    before, after = (
        np.concatenate([graph.run(part) for part in _batches(images, plain.batch)])
        for graph in (load_graph(plain.files[0]), load_graph(path))
    )
    expected, got = torch.from_numpy(before), torch.from_numpy(after)
    comparison, medians = time_both(plain, path, images.shape[-1])
    return Int8Effect(
        deviation=difference([expected], [got], "rms"),
        agreement=float((before.argmax(1) == after.argmax(1)).mean()),
        images=len(before),
        latency_ms_fp32=medians[0],
        latency_ms_int8=medians[1],
        verdict=comparison.word,
    )


def time_both(plain: Manifest, path: Path, image_size: int) -> tuple[Verdict, tuple[float, float]]:
    """The verdict on an int8 file beside its fp32 file, and the medians of both in ms."""
    from smt_nas.profilers.compare import verdict
    from smt_nas.profilers.latency.prepare import prepare
    from smt_nas.profilers.latency.sampling import Limits, interleave
    from smt_nas.profilers.network_loader import load_network

    conditions = Conditions(batch=plain.batch or 1, threads=1)
    runnables = [
        prepare(load_network(str(file), image_size), conditions) for file in (plain.files[0], path)
    ]
    try:
        a, b = interleave(runnables, Limits(seconds=_SECONDS))
    finally:
        for runnable in runnables:
            runnable.close()
    return verdict(a, b), (a.wall.median_ms, b.wall.median_ms)


def refuse_loss(effect: Int8Effect, kind: str) -> None:
    """Refuse what is slower and worse. Raises ExportError."""
    worse = effect.deviation > _SMALL or effect.agreement < 1
    if effect.verdict == "SLOWER" and worse:
        raise ExportError(
            f"--format onnx-int8: must be faster or as good as fp32 here (got neither). "
            f"{effect.describe(kind)} Use --format onnx."
        )


def _read_images(source: ExportSource, options: ExportOptions) -> NDArray[np.float32]:
    if options.calibration is not None:
        from smt_nas.export.graphs.calibration import read_calibration_images

        return read_calibration_images(options.calibration, source)
    arch = source.arch
    shape = (_NOISE, arch.in_channels, arch.image_size, arch.image_size)
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def _batches(images: NDArray[np.float32], batch: int | None) -> Iterator[NDArray[np.float32]]:
    """Parts that a file takes; the last one is left out where it is not full."""
    size = batch or 1
    for start in range(0, max(1, len(images) - size + 1), size):
        part = images[start : start + size]
        yield part if len(part) == size else np.resize(part, (size, *images.shape[1:]))


def _quantise_dynamic(plain: Path, path: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(
        plain, path, op_types_to_quantize=_PRODUCTS, per_channel=True, weight_type=QuantType.QInt8
    )


def _quantise_static(
    plain: Path, path: Path, images: NDArray[np.float32], batch: int | None
) -> None:
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """Hands out one batch at a time."""

        def __init__(self) -> None:
            self._parts = _batches(images, batch)

        def get_next(self) -> Any:
            part = next(self._parts, None)
            return None if part is None else {"images": part}

    prepared = plain.with_name(f"{path.stem}-prepared.onnx")
    quant_pre_process(plain, prepared)
    quantize_static(
        prepared,
        path,
        Reader(),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=[*_PRODUCTS, "Conv"],
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    prepared.unlink()
