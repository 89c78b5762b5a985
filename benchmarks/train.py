"""Times a training step of our SMT against a plain one: `python benchmarks/train.py [--quick]`.

The plain one is that of `model.py`. A step is forward, loss with label smoothing, backward,
clipping to norm 5 and AdamW, by the same calls for both. Both start from the same weights and see
the same images; losses and gradients are compared before anything is timed. Drop path is 0 in both.

On a CPU: fp32, in turns A, B, B, A in one process, at 1 and 2 threads. On a GPU as well: amp-bf16
at batch 64 to 256, eager and compiled. Then our loader feeds our step from a folder of JPEGs with
the transforms of `imagenet1k`, and the share of the time that the step waits for them is told.

Peak memory is what a step takes beyond weights and optimizer state: on a GPU what the allocator
hands out; on a CPU how far the resident memory of a process of its own grows. Beside it stands
what a forward keeps for the backward pass, which is counted and so exact.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.feeding import table
from benchmarks.model import PlainSMT, compare, cpu_model, map_copy
from smt_nas.arch import PRESETS, Architecture, preset
from smt_nas.models import SMT, build, to_official
from smt_nas.profilers.peak_memory import PROC, field_mb, release_freed_memory, resident_mb

SIZE, CLIP, SMOOTHING = 224, 5.0, 0.1
HEAD = (
    f"{'device':6} {'mode':8} {'batch':>5} {'threads':>7} {'plain img/s':>11} {'ours img/s':>10} "
    f"{'ours/plain (95 % CI)':21} {'plain MB':>8} {'ours MB':>8}"
)


class Step:
    """An update of a network: forward, loss, backward, clipping, AdamW."""

    def __init__(self, model: nn.Module, device: torch.device, compiled: bool = False) -> None:
        self.model = model.to(device).train()
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.05)
        self.run: Callable[[Tensor], Tensor] = torch.compile(model) if compiled else model
        self.bf16 = device.type == "cuda"
        self.device = device

    def backward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Leave the gradients of a batch (B, C, H, W) in the weights; returns the loss."""
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            loss = F.cross_entropy(self.run(images), labels, label_smoothing=SMOOTHING)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def __call__(self, images: Tensor, labels: Tensor) -> None:
        """Do one update, to its end."""
        self.backward(images, labels)
        nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
        self.optimizer.step()
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def batch_of(n: int, device: torch.device, classes: int) -> tuple[Tensor, Tensor]:
    """Images (n, 3, H, W) of noise and labels (n,)."""
    noise = torch.Generator().manual_seed(1)
    images = torch.randn(n, 3, SIZE, SIZE, generator=noise)
    return images.to(device), torch.randint(classes, (n,), generator=noise).to(device)


def models(arch: Architecture) -> tuple[SMT, nn.Module]:
    """Our network and the plain one, with the same weights."""
    ours = build(arch, generator=torch.Generator().manual_seed(0))
    plain = PlainSMT(arch, map_copy)
    plain.load_state_dict(to_official(ours))
    return ours, plain


def gradients(model: SMT) -> dict[str, Tensor]:
    """The gradients under the published names: of a network that holds them as its weights."""
    holder = build(model.arch)
    with torch.no_grad():
        for held, p in zip(holder.parameters(), model.parameters(), strict=True):
            held.copy_(p if p.grad is None else p.grad)
    return to_official(holder)


def check(arch: Architecture, device: torch.device) -> str:
    """Compare losses and gradients in fp32, and say how far apart they are."""
    ours, plain = models(arch)
    images, labels = batch_of(4, device, arch.num_classes)
    losses = []
    with torch.backends.cudnn.flags(allow_tf32=False):
        for model in (ours, plain):
            step = Step(model, device)
            step.bf16 = False
            losses.append(float(step.backward(images, labels)))
    own = gradients(ours)
    wanted = {n: p.grad.cpu() for n, p in plain.named_parameters() if p.grad is not None}
    total = float(torch.cat([g.flatten() for g in wanted.values()]).norm())
    apart = {n: float((own[n] - g).norm()) for n, g in wanted.items()}
    worst = max(apart[n] / (float(g.norm()) + 1e-3 * total) for n, g in wanted.items())
    assert abs(losses[0] - losses[1]) < 1e-4 and worst < 1e-3, (losses, worst)
    return f"losses {losses[1]:.5f} and {losses[0]:.5f}, gradients within {worst:.0e} of their norm"


def on_cpu(arch: Architecture, batch: int, threads: int, rounds: int) -> str:
    """A row: both in turns on so many threads."""
    torch.set_num_threads(threads)
    cpu = torch.device("cpu")
    images, labels = batch_of(batch, cpu, arch.num_classes)
    ours, plain = (Step(m, cpu) for m in models(arch))
    timings = compare(lambda x: ours(x, labels), lambda x: plain(x, labels), images, rounds)
    memory = [measure_resident(name, batch, threads) for name in ("plain", "ours")]
    return row("cpu", "eager", batch, str(threads), timings, memory)


def row(
    device: str,
    mode: str,
    batch: int,
    threads: str,
    timings: dict[str, float],
    memory: Sequence[float | None],
) -> str:
    """A line of the table; `memory` of the plain one, then of ours, MB."""
    plain, ours = (batch * 1e3 / timings[f"{name}_ms"] for name in ("plain", "ours"))
    interval = f"{timings['ratio']:.2f} ({timings['low']:.2f} .. {timings['high']:.2f})"
    cells = " ".join(f"{'-' if mb is None else f'{mb:.0f}':>8}" for mb in memory)
    return (
        f"{device:6} {mode:8} {batch:5} {threads:>7} {plain:11.2f} {ours:10.2f} {interval:21} "
        f"{cells}"
    )


def measure_resident(name: str, batch: int, threads: int) -> float | None:
    """By how much the resident memory of a process grows in a step, at its highest, MB."""
    command = [sys.executable, __file__, "--alone", name, "--batch", str(batch)]
    process = subprocess.run(
        [*command, "--threads", str(threads)], capture_output=True, text=True, check=True
    )
    text = process.stdout.strip()
    return float(text) if text else None


def alone(arch: Architecture, name: str, batch: int, threads: int) -> float | None:
    """What `measure_resident` asks another process for; None where Linux does not tell."""
    torch.set_num_threads(threads)
    ours, plain = models(arch)
    step = Step(ours if name == "ours" else plain, torch.device("cpu"))
    images, labels = batch_of(batch, step.device, arch.num_classes)
    step(images, labels)  # loads kernels, makes the optimizer's state
    step.optimizer.zero_grad(set_to_none=True)
    release_freed_memory()
    before = resident_mb()
    try:
        (PROC / "clear_refs").write_text("5", encoding="ascii")  # the peak starts anew (proc(5))
    except OSError:
        return None
    for _ in range(2):
        step(images, labels)
    peak = field_mb(PROC / "status", "VmHWM")
    return None if peak is None or before is None else peak - before


def kept_mb(model: nn.Module, images: Tensor) -> float:
    """What a forward keeps for the backward pass beside weights and images, MB."""
    given = [images, *model.parameters(), *model.buffers()]
    known = {t.untyped_storage()._cdata for t in given}
    kept: dict[int, int] = {}

    def keep(t: Tensor) -> Tensor:
        storage = t.untyped_storage()
        if storage._cdata not in known:
            kept[storage._cdata] = storage.nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        out = model(images)  # kept while counting, so that no storage is freed and counted twice
    del out
    return sum(kept.values()) / 1e6


def on_gpu(arch: Architecture, batch: int, compiled: bool, rounds: int) -> str:
    """A row: both in turns on the GPU, in amp-bf16."""
    device, mode = torch.device("cuda", 0), "compiled" if compiled else "eager"
    images, labels = batch_of(batch, device, arch.num_classes)
    ours, plain = (Step(m, device, compiled) for m in models(arch))
    try:
        timings = compare(lambda x: ours(x, labels), lambda x: plain(x, labels), images, rounds)
        memory = [measure_allocated(step, images, labels) for step in (plain, ours)]
    except torch.OutOfMemoryError:
        return f"{'gpu':6} {mode:8} {batch:5} does not fit"
    return row("gpu", mode, batch, "-", timings, memory)


def measure_allocated(step: Step, images: Tensor, labels: Tensor) -> float:
    """What torch's allocator hands out for a step at most, beyond what it held before, MB."""
    step.optimizer.zero_grad(set_to_none=True)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step(images, labels)
    step.optimizer.zero_grad(set_to_none=True)
    return (torch.cuda.max_memory_allocated() - before) / 1e6


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Times a training step against a plain one.")
    parser.add_argument("--preset", default="smt_t", choices=sorted(PRESETS))
    parser.add_argument("--batch", type=int, default=8, help="on the CPU")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=12, help="four steps each")
    parser.add_argument("--minutes", type=float, default=20.0, help="for the part on the GPU")
    parser.add_argument("--quick", action="store_true", help="2 rounds")
    parser.add_argument("--alone", choices=["plain", "ours"], help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Print the tables."""
    args = arguments()
    arch = preset(args.preset).model_copy(update={"drop_path": 0.0})
    if args.alone:
        mb = alone(arch, args.alone, args.batch, args.threads[0])
        print("" if mb is None else mb)
        return
    rounds, gpu = 2 if args.quick else args.rounds, torch.cuda.is_available()
    print(f"training step of {args.preset}, {SIZE} px, torch {torch.__version__}, {cpu_model()}")
    print(f"{rounds} rounds A B B A; load {os.getloadavg()[0]:.1f}")
    print(check(arch, torch.device("cpu")))
    print(HEAD)
    for threads in args.threads:
        print(on_cpu(arch, args.batch, threads, rounds), flush=True)
    images, _ = batch_of(args.batch, torch.device("cpu"), arch.num_classes)
    ours, plain = (kept_mb(model.train(), images) for model in models(arch))
    print(f"kept for backward, counted: plain {plain:.0f} MB, ours {ours:.0f} MB")
    if gpu:
        gpu_table(arch, rounds, time.monotonic() + args.minutes * 60)
    device = torch.device("cuda", 0) if gpu else torch.device("cpu")
    step = Step(models(arch)[0], device)
    table(step, device, 128 if gpu else args.batch, 6 if args.quick else 16)


def gpu_table(arch: Architecture, rounds: int, deadline: float) -> None:
    """Print the rows of the GPU, as long as there is time."""
    device = torch.device("cuda", 0)
    print(f"\n{torch.cuda.get_device_name(device)}, amp-bf16; {check(arch, device)}")
    print(HEAD)
    for compiled in (False, True):
        for batch in (64, 128, 256):
            if time.monotonic() > deadline:
                print("out of time")
                return
            print(on_gpu(arch, batch, compiled, rounds), flush=True)
            with contextlib.suppress(RuntimeError):
                torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
