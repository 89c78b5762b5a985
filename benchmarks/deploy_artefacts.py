"""The files that `deploy_worker` loads.

    python -m benchmarks.deploy_artefacts FILE NETWORK FOLDER

Each is made in a process of its own, once: what is there is not made again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.model import PlainSMT, map_view
from smt_nas.models import SMT, build, to_official
from smt_nas.runtime.torchvision_ops import import_timm

IMAGES, SIZE, CALIBRATION = 8, 224, 16
OPSET = 20


TIMM = "timm:"  # before the name of a network of timm, with random weights


def build_network(name: str) -> SMT:
    """The network with fresh weights of seed 0, in eval mode."""
    return build(name, generator=torch.Generator().manual_seed(0)).eval()


def build_any(name: str) -> nn.Module:
    """The same, or one of timm."""
    if not name.startswith(TIMM):
        return build_network(name)
    torch.manual_seed(0)
    module: nn.Module = import_timm().create_model(name.removeprefix(TIMM), pretrained=False)
    return module.eval()


def make_images(name: str, path: Path) -> None:
    """Images that every form is run on, with values as normalised photographs have them."""
    values = np.random.default_rng(0).standard_normal((IMAGES, 3, SIZE, SIZE), dtype=np.float32)
    np.save(path, values)


def make_published(name: str, path: Path) -> None:
    """The network as the published code computes it, with the same weights."""
    ours = build_network(name)
    plain = PlainSMT(ours.arch, map_view).eval()
    plain.load_state_dict(to_official(ours))
    torch.save(plain, path)


def make_ours(name: str, path: Path) -> None:
    """Our network, or one of timm, as it is."""
    torch.save(build_any(name), path)


def make_fused(name: str, path: Path) -> None:
    """Its deploy form."""
    torch.save(build_network(name).fused(), path)


def make_package(batch: int) -> Callable[[str, Path], None]:
    """The deploy form compiled by AOTInductor, with its weights as constants."""

    def make(name: str, path: Path) -> None:
        import torch._inductor.config as config

        torch.set_num_threads(1)
        x = torch.zeros(batch, 3, SIZE, SIZE)
        with torch.no_grad(), config.patch({"freezing": True, "max_autotune": False}):
            program = torch.export.export(build_network(name).fused(), (x,))
            torch._inductor.aoti_compile_and_package(program, package_path=str(path))

    return make


def make_onnx(module: nn.Module, path: Path) -> None:
    """An ONNX file for any batch."""
    x = torch.zeros(2, 3, SIZE, SIZE)
    shapes = ({0: torch.export.Dim("batch", max=1024)},)
    program = torch.onnx.export(
        module, (x,), dynamo=True, opset_version=OPSET, dynamic_shapes=shapes, verbose=False
    )
    assert program is not None
    program.save(str(path))


def make_dynamic(name: str, path: Path) -> None:
    """onnxruntime's dynamic int8 over the products with weights; no calibration."""
    tools = import_module("onnxruntime.quantization")
    tools.quantize_dynamic(
        _prepare(path),
        path,
        op_types_to_quantize=["MatMul", "Gemm"],
        per_channel=True,
        weight_type=tools.QuantType.QInt8,
    )


def make_static(name: str, path: Path) -> None:
    """int8 over the products with weights, calibrated on random images of other seeds.

    What a product returns stays as it is: quantised outputs cost more than they save. Products of
    attention stay too.
    """
    tools, prepared = import_module("onnxruntime.quantization"), _prepare(path)
    tools.quantize_static(
        prepared,
        path,
        _Calibration(),
        quant_format=tools.QuantFormat.QDQ,
        nodes_to_quantize=[node.name for node in _list_products(prepared)],
        per_channel=True,
        weight_type=tools.QuantType.QInt8,
        activation_type=tools.QuantType.QInt8,
        extra_options={
            "ActivationSymmetric": True,
            "OpTypesToExcludeOutputQuantization": ["MatMul", "Gemm"],
            "QuantizeBias": False,
        },
    )


def make_weights(name: str, path: Path) -> None:
    """int8 weights alone, a scale per output; OpenVINO quantises what they meet as it runs."""
    onnx = import_module("onnx")
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    model = onnx.load(_prepare(path))
    graph = model.graph
    initial = {tensor.name: tensor for tensor in graph.initializer}
    for node in [n for n in graph.node if n.op_type == "MatMul" and n.input[1] in initial]:
        weight = numpy_helper.to_array(initial[node.input[1]])  # (inputs, outputs)
        scale = np.abs(weight).max(axis=0) / 127
        names = [f"{node.name}_{part}" for part in ("int8", "scale", "weight")]
        values = np.clip(np.round(weight / scale), -127, 127).astype(np.int8)
        graph.initializer.append(numpy_helper.from_array(values, names[0]))
        graph.initializer.append(numpy_helper.from_array(scale.astype(np.float32), names[1]))
        graph.node.insert(0, helper.make_node("DequantizeLinear", names[:2], names[2:], axis=1))
        node.input[1] = names[2]
    needed = {name for node in graph.node for name in node.input}
    for tensor in [t for t in graph.initializer if t.name not in needed]:
        graph.initializer.remove(tensor)
    onnx.save(model, path)


class _Calibration:
    """Random images, one at a time."""

    def __init__(self) -> None:
        self.left = list(range(CALIBRATION))

    def get_next(self) -> dict[str, Any] | None:
        """The next input of the network."""
        if not self.left:
            return None
        rng = np.random.default_rng([1, self.left.pop()])
        return {"x": rng.standard_normal((1, 3, SIZE, SIZE), dtype=np.float32)}


def _prepare(path: Path) -> Path:
    """The fused network's ONNX file with constants computed, as onnxruntime wants it."""
    preprocess = import_module("onnxruntime.quantization.preprocess")
    prepared = path.with_name(f"{path.stem}.prepared.onnx")
    preprocess.quant_pre_process(path.with_name("fused.onnx"), prepared, skip_symbolic_shape=True)
    return prepared


def _list_products(path: Path) -> list[Any]:
    """Nodes that multiply by weights."""
    graph = import_module("onnx").load(path).graph
    constants = {tensor.name for tensor in graph.initializer}
    products = [n for n in graph.node if n.op_type in ("MatMul", "Gemm")]
    return [n for n in products if n.input[1] in constants]


ARTEFACTS: dict[str, Callable[[str, Path], None]] = {
    "images.npy": make_images,
    "published.pt": make_published,
    "ours.pt": make_ours,
    "fused.pt": make_fused,
    "fused.b1.pt2": make_package(1),
    "fused.b8.pt2": make_package(8),
    "ours.onnx": lambda name, path: make_onnx(build_any(name), path),
    "fused.onnx": lambda name, path: make_onnx(build_network(name).fused(), path),
    "dynamic.onnx": make_dynamic,
    "static.onnx": make_static,
    "weights.onnx": make_weights,
}


def main() -> None:
    """Make one artefact."""
    artefact, name, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    path = folder / artefact
    partial = path.with_name(f"partial.{path.name}")
    ARTEFACTS[artefact](name, partial)
    partial.rename(path)


if __name__ == "__main__":
    main()
