"""The forms in which a network is deployed on a GPU, against the published code in eager.

    python -m benchmarks.gpu --deploy --minutes 8

For SMT-T at 224 px, batch 1 and 64, fp16 and bf16: the published code and its fused form in eager,
as a CUDA graph, and compiled inside a CUDA graph, in turns. Beside them stands the roofline: the
least time that products and memory traffic of the fused operators take on the device's data sheet.
Which kernel attention really runs is read from a profile. A line of JSON a cell in
benchmarks/gpu/<device>.deploy.jsonl; a run that was cut off goes on where it stopped.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from benchmarks.deploy_artefacts import SIZE, build_network
from benchmarks.model import PlainSMT, map_view
from smt_nas.conditions import Conditions
from smt_nas.devices.resolve import resolve
from smt_nas.devices.sheet import Sheet
from smt_nas.errors import MeasurementError, one_line
from smt_nas.models import to_official
from smt_nas.models.trace import trace
from smt_nas.profilers.latency.clock import Runnable
from smt_nas.profilers.latency.prepare import prepare
from smt_nas.profilers.network_loader import Network
from smt_nas.runtime.environment import read_environment

BATCHES, PRECISIONS = (1, 64), ("fp16", "bf16")
GOALS = {1: 3.0, 64: 2.0}  # times the published code in eager
ROUNDS, CALLS = 12, 8  # a round: so many calls of each form, then one wait
BASE = "published eager"
DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}


def build_published(name: str) -> nn.Module:
    """The network as the published code computes it."""
    ours = build_network(name)
    plain = PlainSMT(ours.arch, map_view).eval()
    plain.load_state_dict(to_official(ours))
    return plain


def build_fused(name: str) -> nn.Module:
    """Our deploy form."""
    return build_network(name).fused()


def build_compiled(name: str) -> nn.Module:
    """The deploy form, compiled; what is captured is the kernels that it compiles to.

    Without autotuning, which takes minutes a form.
    """
    return cast("nn.Module", torch.compile(build_fused(name)))


Build = Callable[[str], nn.Module]
FORMS: dict[str, tuple[Build, str]] = {  # what is built, and how it runs
    BASE: (build_published, "eager"),
    "published graph": (build_published, "graph"),
    "fused eager": (build_fused, "eager"),
    "fused graph": (build_fused, "graph"),
    "fused compile graph": (build_compiled, "graph"),
}


def measure_deploy(
    network: str, device: str, out: Path, deadline: float, batches: Sequence[int] = BATCHES
) -> None:
    """Run the cells that the journal does not hold yet, print the table."""
    sheet = resolve(device).require_sheet()
    out.mkdir(parents=True, exist_ok=True)
    journal = out / f"{sheet.key}.deploy.jsonl"
    done = {(e["precision"], e["batch"]) for e in read_entries(journal)}
    with journal.open("a", encoding="utf-8") as file:
        for precision, batch in ((p, b) for p in PRECISIONS for b in batches):
            if (precision, batch) in done or time.monotonic() > deadline:
                continue
            entry = measure_cell(network, precision, batch, device, sheet, deadline)
            entry["environment"] = read_environment(device)
            file.write(json.dumps(entry) + "\n")
            file.flush()
    for line in list_lines(read_entries(journal)):
        print(line)


def measure_cell(
    network: str, precision: str, batch: int, device: str, sheet: Sheet, deadline: float
) -> dict[str, Any]:
    """Milliseconds a call of every form, in turns; what attention ran; the roofline."""
    times: dict[str, list[float]] = {}
    failures: dict[str, str] = {}
    with ExitStack() as stack:
        calls: dict[str, Runnable] = {}
        for form in FORMS:
            if time.monotonic() > deadline:
                failures[form] = "no time left"
                continue
            try:
                calls[form] = open_form(form, network, precision, batch, device)
                stack.callback(calls[form].close)
                calls[form].first()
            except (MeasurementError, RuntimeError) as error:
                calls.pop(form, None)
                failures[form] = one_line(error)
        for call in calls.values():
            time_calls(call, device)  # warm
        for _ in range(ROUNDS):
            for form, call in calls.items():
                times.setdefault(form, []).append(time_calls(call, device))
    return {
        "network": network,
        "precision": precision,
        "batch": batch,
        "ms": times,
        "failures": failures,
        "attention": list_attention_kernels(network, precision, batch, device),
        "roofline_ms": estimate_roofline(network, precision, batch, sheet),
        "difference": compare_logits(network, precision, device),
    }


def open_form(form: str, network: str, precision: str, batch: int, device: str) -> Runnable:
    """A form, ready to be timed, with images in channels-last memory."""
    build, mode = FORMS[form]
    values = {"batch": batch, "precision": precision, "mode": mode, "channels_last": True}
    arch = build_network(network).arch
    described = Network(form, form, arch, SIZE, arch.in_channels, lambda: build(network))
    return prepare(described, Conditions.model_validate(values), device)


def time_calls(call: Runnable, device: str) -> float:
    """Milliseconds a call, of CALLS in a row that are waited for."""
    start = time.perf_counter()
    for _ in range(CALLS):
        call()
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    return 1e3 * (time.perf_counter() - start) / CALLS


def list_attention_kernels(network: str, precision: str, batch: int, device: str) -> list[str]:
    """Operators and kernels of attention in one forward of the fused network."""
    model, images = _place(build_fused(network), precision, batch, device)
    with torch.inference_mode(), torch.profiler.profile() as profile:
        model(images)
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)
    words = ("attention", "flash", "fmha")
    return sorted({e.key for e in profile.key_averages() if any(w in e.key for w in words)})


def estimate_roofline(network: str, precision: str, batch: int, sheet: Sheet) -> float | None:
    """The least time of the fused operators: each waits for its products or for the memory."""
    peak = sheet.peak_tflops.get(cast("Any", precision))
    if peak is None:
        return None
    ops = trace(build_fused(network), (3, SIZE, SIZE), batch, channels_last=True, autocast=False)
    moved = [DTYPES[precision].itemsize * (op.read + op.written + op.weights) for op in ops]
    seconds = [
        max(2 * op.macs / (peak * 1e12), n / (sheet.bandwidth_gbps * 1e9))
        for op, n in zip(ops, moved, strict=True)
    ]
    return 1e3 * sum(seconds)


def compare_logits(network: str, precision: str, device: str) -> float:
    """Deviation of the fused network's logits from those in fp32, relative to their spread."""
    model, images = _place(build_fused(network), precision, 8, device)
    plain = build_published(network).to(device)
    with torch.inference_mode():
        truth, logits = plain(images.float()), model(images).float()
    return float((logits - truth).std() / truth.std())


def _place(
    model: nn.Module, precision: str, batch: int, device: str
) -> tuple[nn.Module, torch.Tensor]:
    dtype = DTYPES[precision]
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch, 3, SIZE, SIZE, generator=generator)
    return model.to(device, dtype), images.to(device, dtype, memory_format=torch.channels_last)


def read_entries(journal: Path) -> list[dict[str, Any]]:
    """What a journal holds; a last line that was cut off is left out."""
    text = journal.read_text(encoding="utf-8") if journal.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def list_lines(entries: list[dict[str, Any]]) -> Iterator[str]:
    """The table: a line a form."""
    for entry in entries:
        batch, base = entry["batch"], entry["ms"].get(BASE)
        roofline = entry["roofline_ms"]
        bound = "no peak on its sheet" if roofline is None else f"{roofline:.3f} ms"
        yield (
            f"{entry['network']} b{batch} {entry['precision']}: roofline {bound}; logits deviate "
            f"by {entry['difference']:.2%}; attention: {', '.join(entry['attention']) or 'none'}"
        )
        for form, ms in entry["ms"].items():
            words = f"  {form:22}{statistics.median(ms):9.3f} ms"
            if base:
                ratio = statistics.median(b / own for b, own in zip(base, ms, strict=True))
                goal = GOALS.get(batch) if form.startswith("fused") else None
                mark = " " if goal is None else "+" if ratio >= goal else "-"
                words += f"{ratio:7.2f}x{mark}"
            yield words
        yield from (f"  {form:22} {reason}" for form, reason in entry["failures"].items())
