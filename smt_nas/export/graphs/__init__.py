"""Graphs to deploy: what the network computes, without its code. GRAPHS are rows of EXPORTERS."""

from __future__ import annotations

from smt_nas.export.exporter import ExporterEntry
from smt_nas.export.graphs.int8 import export_int8
from smt_nas.export.graphs.mobile import (
    export_coreml,
    export_executorch,
    export_litert,
    load_coreml_back,
    why_coreml_does_not_run,
)
from smt_nas.export.graphs.onnx_file import export_onnx
from smt_nas.export.graphs.openvino_folder import export_openvino, load_openvino_back
from smt_nas.export.graphs.torch_file import export_aoti, export_pt2
from smt_nas.export.graphs.traced_program import load_graph_back

_ONNX = ("onnx", "onnxscript", "onnxruntime")
_CRUDE = 0.25  # of the spread: int8 is judged by what it says of itself, this tells a broken file

GRAPHS: dict[str, ExporterEntry] = {
    "onnx": ExporterEntry(
        export=export_onnx,
        load_back=load_graph_back,
        help="ONNX of opset 20, checked by onnxruntime",
        suffix=".onnx",
        extra="onnx",
        modules=_ONNX,
        dynamic=("batch", "image_size"),
        precisions=("fp32", "fp16"),
    ),
    "onnx-int8": ExporterEntry(
        export=export_int8,
        load_back=load_graph_back,
        help="ONNX with products in int8 (--calibrate: all)",
        suffix=".onnx",
        extra="onnx",
        modules=_ONNX,
        dynamic=("batch", "image_size"),
        calibrates=True,
        tolerance=_CRUDE,
        measure="rms",
    ),
    "openvino": ExporterEntry(
        export=export_openvino,
        load_back=load_openvino_back,
        help="a folder with OpenVINO's model, checked in f32",
        extra="openvino",
        modules=("openvino",),
        dynamic=("batch", "image_size"),
        precisions=("fp32", "fp16"),
    ),
    "pt2": ExporterEntry(
        export=export_pt2,
        load_back=load_graph_back,
        help="a program of torch.export",
        suffix=".pt2",
        dynamic=("batch", "image_size"),
        precisions=("fp32", "fp16", "bf16"),
    ),
    "aoti": ExporterEntry(
        export=export_aoti,
        load_back=load_graph_back,
        help="native code by AOTInductor, which needs no Python",
        suffix=".pt2",
        dynamic=("batch",),
        precisions=("fp32", "bf16"),
    ),
    "executorch": ExporterEntry(
        export=export_executorch,
        load_back=load_graph_back,
        help="ExecuTorch's program for phones, by XNNPACK",
        suffix=".pte",
        extra="executorch",
        modules=("executorch",),
        dynamic=(),
    ),
    "litert": ExporterEntry(
        export=export_litert,
        load_back=load_graph_back,
        help="LiteRT's model for phones (.tflite)",
        suffix=".tflite",
        extra="litert",
        modules=("litert_torch", "ai_edge_litert"),
        dynamic=(),
    ),
    "coreml": ExporterEntry(
        export=export_coreml,
        load_back=load_coreml_back,
        help="Core ML's package; run on a Mac alone",
        suffix=".mlpackage",
        extra="coreml",
        modules=("coremltools",),
        dynamic=(),
        precisions=("fp32", "fp16"),
        not_run_here=why_coreml_does_not_run,
    ),
}
