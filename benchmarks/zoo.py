"""Traces of the timm networks whose throughput is known, made once and kept on disk."""

from __future__ import annotations

import csv
import pickle
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from smt_nas.costs.ops import Op
from smt_nas.models.trace import trace
from smt_nas.runtime import torchvision_ops

HERE = Path(__file__).resolve().parent
CACHE = HERE / ".cache" / "traces"
BATCHES = (2, 3)  # everything in a trace is linear in the batch

Traces = tuple[list[Op], list[Op]]


def traces(name: str, size: int, channels_last: bool, merged: bool) -> Traces:
    """Operators of one timm network at the two batches.

    Args:
        name: timm's.
        size: of the image.
        channels_last: memory format of images and weights.
        merged: branches that are one convolution in inference are merged into it.
    """
    merged = merged and _has_branches(name)
    words = [name, size, "nhwc" if channels_last else "nchw", *["merged"] * merged]
    path = CACHE / f"{'.'.join(map(str, words))}.pkl"
    if path.exists():
        kept: Traces = pickle.loads(path.read_bytes())
        return kept
    module = _built(name, size, merged)
    first, second = (trace(module, (3, size, size), batch, channels_last) for batch in BATCHES)
    if len(first) != len(second):  # some prepare tables when first called
        first = trace(module, (3, size, size), BATCHES[0], channels_last)
    assert [o.name for o in first] == [o.name for o in second], name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps((first, second)))
    return first, second


def _built(name: str, size: int, merged: bool) -> torch.nn.Module:
    timm = torchvision_ops.import_timm()
    with torch.device("cpu" if merged else "meta"):  # merging computes with the weights
        try:
            module = timm.create_model(name, img_size=size).eval()
        except TypeError:  # it takes any size
            module = timm.create_model(name).eval()
    if merged:
        module = timm.utils.reparameterize_model(module, inplace=True)
    assert isinstance(module, torch.nn.Module)
    return module


def _has_branches(name: str) -> bool:
    return name.startswith(("fastvit", "repvit", "mobileone", "repvgg", "repghost"))


def main() -> None:
    """Trace every row of the table."""
    torch.set_num_threads(1)
    with (HERE / "data" / "timm_throughput.csv").open(encoding="utf-8") as file:
        rows = [(r["model"], int(r["img_size"])) for r in csv.DictReader(file)]
    for name, size in rows:
        for channels_last, merged in ((False, False), (True, False), (False, True)):
            traces(name, size, channels_last, merged)


if __name__ == "__main__":
    main()
