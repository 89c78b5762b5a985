"""One form of a network in a process of its own, for `deploy`.

    python -m benchmarks.deploy_worker FORM FOLDER BATCH

It loads what `deploy_artefacts` wrote and says its logits and memory. For every line it reads it
then runs two forwards and answers with milliseconds of the second, by the clock and of CPU time.
Libraries are imported by the forms that need them, so that the memory of a process is that of its
form.
"""

from __future__ import annotations

import ctypes
import gc
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.float32]
Run = Callable[[], NDArray[np.float32]]
WARMUP = 3
THREADS = 1


@dataclass(frozen=True)
class Form:
    """A form of the network.

    Attributes:
        words: how the table calls it.
        load: takes the folder of artefacts and images, returns what runs it.
        artefact: the file it loads, of `deploy_artefacts.ARTEFACTS`.
        kind: which goal of the issue it is held against.
        options: of its runtime.
    """

    words: str
    load: Callable[[Form, Path, Images], Run]
    artefact: str
    kind: str = ""
    options: dict[str, Any] = field(default_factory=dict)


def load_module(form: Form, folder: Path, images: Images) -> Run:
    """A module of torch, in eager."""
    import torch

    torch.set_num_threads(THREADS)
    if folder.name.startswith("timm:"):
        import_module("smt_nas.runtime.torchvision_ops").import_timm()  # what was saved needs it
    module = torch.load(folder / form.artefact, weights_only=False)  # written by this program
    dtype = getattr(torch, form.options.get("dtype", "float32"))
    module, x = module.to(dtype), torch.from_numpy(images).to(dtype)
    module = module.packed() if "packed" in form.options else module

    def run() -> NDArray[np.float32]:
        with torch.inference_mode():
            y: NDArray[np.float32] = module(x).float().numpy()
        return y

    return run


def load_package(form: Form, folder: Path, images: Images) -> Run:
    """A package of AOTInductor, which is compiled for one batch."""
    import torch

    torch.set_num_threads(THREADS)
    path = folder / form.artefact.format(batch=len(images))
    package = torch._inductor.aoti_load_package(str(path))
    x = torch.from_numpy(images)

    def run() -> NDArray[np.float32]:
        with torch.inference_mode():
            y: NDArray[np.float32] = package(x).numpy()
        return y

    return run


def load_onnxruntime(form: Form, folder: Path, images: Images) -> Run:
    """An ONNX file, by onnxruntime."""
    onnxruntime = import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = THREADS
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        folder / form.artefact, options, providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name
    return lambda: np.asarray(session.run(None, {name: images})[0])


def load_openvino(form: Form, folder: Path, images: Images) -> Run:
    """An ONNX file, by OpenVINO, with the batch made static."""
    core = import_module("openvino").Core()
    model = core.read_model(folder / form.artefact)
    model.reshape(images.shape)
    hints = {"INFERENCE_NUM_THREADS": THREADS, "PERFORMANCE_HINT": "LATENCY", **form.options}
    request = core.compile_model(model, "CPU", hints).create_infer_request()
    del model
    return lambda: np.array(next(iter(request.infer([images], share_inputs=True).values())))


F32, BF16 = {"INFERENCE_PRECISION_HINT": "f32"}, {"INFERENCE_PRECISION_HINT": "bf16"}
GROUP = {"DYNAMIC_QUANTIZATION_GROUP_SIZE": 128}
FORMS: dict[str, Form] = {
    "published": Form("published code, eager fp32", load_module, "published.pt"),
    "ours": Form("ours, eager fp32", load_module, "ours.pt"),
    "fused": Form("fused, eager fp32", load_module, "fused.pt", "eager fp32"),
    "packed": Form(
        "fused, packed, eager fp32", load_module, "fused.pt", "eager fp32", {"packed": 1}
    ),
    "compile": Form("fused, AOTInductor fp32", load_package, "fused.b{batch}.pt2", "fp32"),
    "ort": Form("fused, onnxruntime fp32", load_onnxruntime, "fused.onnx", "fp32"),
    "ov_ours": Form("ours, OpenVINO f32", load_openvino, "ours.onnx", "fp32", F32),
    "ort_ours": Form("ours, onnxruntime fp32", load_onnxruntime, "ours.onnx", "fp32"),
    "ov": Form("fused, OpenVINO f32", load_openvino, "fused.onnx", "fp32", F32),
    "ours_bf16": Form("ours, eager bf16", load_module, "ours.pt", "bf16", {"dtype": "bfloat16"}),
    "fused_bf16": Form("fused, eager bf16", load_module, "fused.pt", "bf16", {"dtype": "bfloat16"}),
    "ov_ours_bf16": Form("ours, OpenVINO bf16", load_openvino, "ours.onnx", "bf16", BF16),
    "ov_bf16": Form("fused, OpenVINO bf16", load_openvino, "fused.onnx", "bf16", BF16),
    "ort_int8": Form("fused, onnxruntime int8 dynamic", load_onnxruntime, "dynamic.onnx", "int8"),
    "ov_int8": Form(
        "fused, OpenVINO int8 weights, f32 rest", load_openvino, "weights.onnx", "int8", F32 | GROUP
    ),
    "ov_int8_bf16": Form(
        "fused, OpenVINO int8 weights, bf16 rest",
        load_openvino,
        "weights.onnx",
        "int8",
        BF16 | GROUP,
    ),
    "ov_static_bf16": Form(
        "fused, OpenVINO int8 static, bf16 rest", load_openvino, "static.onnx", "int8", BF16
    ),
}


def read_status_mb(name: str) -> float:
    """A figure of this process's memory, e.g. VmHWM: the most that was resident."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in lines if line.startswith(f"{name}:")).split()[1]) / 1024


def reset_peak() -> None:
    """Give back what is free, and count the peak from here on (man 5 proc, clear_refs)."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def main() -> None:
    """Serve forwards."""
    name, folder, batch = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    images = np.load(folder / "images.npy")[:batch]
    run = FORMS[name].load(FORMS[name], folder, images)
    logits = run()
    loaded_mb = read_status_mb("VmHWM")
    reset_peak()
    for _ in range(WARMUP):
        run()
    first = {
        "logits": logits.tolist(),
        "loading_mb": loaded_mb,
        "running_mb": read_status_mb("VmHWM"),
    }
    print(json.dumps(first), flush=True)
    for _ in sys.stdin:
        run()  # the other forms have run since, and left nothing of this one's in the caches
        wall, cpu = time.perf_counter(), time.process_time()
        run()
        spent = [1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - cpu)]
        print(json.dumps(spent), flush=True)


if __name__ == "__main__":
    main()
