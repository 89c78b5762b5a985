"""Peak memory of one training step of a detector or segmenter over an SMT, on this machine's CPU.

    python -m benchmarks.detector_memory smt_s mask-rcnn 800x1333 --checkpointing

One image with ten objects, fp32, forward, backward and an AdamW step. The process is fresh, so its
largest resident set is the step's, weights and gradients and torch itself included.
"""

from __future__ import annotations

import argparse
import resource
import time
from typing import Any

import torch
from torch import Tensor

from smt_nas.arch import preset
from smt_nas.costs.heads import HEADS
from smt_nas.tasks.task_network import build_task

_OBJECTS = 10
_MB = 1024  # of getrusage's kB


def main() -> None:
    """Measure and print one line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("network")
    parser.add_argument("head", choices=HEADS)
    parser.add_argument("size", help="height x width")
    parser.add_argument("--checkpointing", action="store_true")
    arguments = parser.parse_args()
    size = tuple(map(int, arguments.size.split("x")))
    network: Any = build_task(
        preset(arguments.network), arguments.head, generator=torch.Generator().manual_seed(0)
    )
    body = network.backbone.body if HEADS[arguments.head].task == "detect" else network.backbone
    body.set_grad_checkpointing(arguments.checkpointing)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
    before, start = peak_mb(), time.process_time()
    losses = run_step(network, HEADS[arguments.head].task, size)
    loss = torch.stack(list(losses.values())).sum()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    words = "checkpointed" if arguments.checkpointing else "plain"
    print(
        f"{arguments.network} {arguments.head} {arguments.size} batch 1 fp32 {words}: "
        f"peak {peak_mb():,} MB, {before:,} MB before the step; {time.process_time() - start:.0f} "
        f"CPU s on {torch.get_num_threads()} thread(s); loss {loss.item():.2f}"
    )


def run_step(network: Any, task: str, size: tuple[int, ...]) -> dict[str, Tensor]:
    """The losses of one image."""
    height, width = size
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(3, height, width, generator=generator)
    if task == "segment":
        labels = torch.randint(150, (1, height, width), generator=generator)
        losses: dict[str, Tensor] = network.compute_losses(image[None], labels)
        return losses
    corners = torch.rand(_OBJECTS, 2, generator=generator) * torch.tensor([width, height]) * 0.7
    sides = 20 + torch.rand(_OBJECTS, 2, generator=generator) * torch.tensor([width, height]) * 0.25
    boxes = torch.cat([corners, corners + sides], dim=1)
    masks = torch.zeros(_OBJECTS, height, width, dtype=torch.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.long().tolist(), strict=True):
        mask[y1:y2, x1:x2] = 1
    labels = torch.randint(1, 81, (_OBJECTS,), generator=generator)
    losses = network([image], [{"boxes": boxes, "labels": labels, "masks": masks}])
    return losses


def peak_mb() -> int:
    """The largest resident set of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // _MB


if __name__ == "__main__":
    main()
