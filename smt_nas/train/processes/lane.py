"""A lane of a GPU: a stream and a generator of a training's own, beside those of others.

What trainings of one process start on streams of their own runs at the same time. Random numbers
come from the generator that torch takes by default, which each lane lends its own state: a CUDA
graph keeps drawing from the one that it was captured with.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeVar

import torch

from smt_nas.runtime.turns import Steps, enter_each

_Answer = TypeVar("_Answer")


def run_in_lane(steps: Steps[_Answer], device: torch.device) -> Steps[_Answer]:
    """The same steps in a lane of a device; at their end its memory is free for others."""
    try:
        return (yield from enter_each(steps, _open_lane(device)))
    finally:
        if device.type == "cuda":
            gc.collect()  # a training that failed is still held by its traceback
            torch.cuda.empty_cache()


def _open_lane(device: torch.device) -> Callable[[], AbstractContextManager[None]]:
    """A context for each step; on a CPU there is nothing to keep apart."""
    if device.type != "cuda":
        return nullcontext
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    generator = torch.Generator(device)
    torch.cuda.synchronize(device)  # images that others have put there are there for this one
    return lambda: _lane(stream, generator)


@contextmanager
def _lane(stream: torch.cuda.Stream, generator: torch.Generator) -> Iterator[None]:
    shared = torch.cuda.default_generators[stream.device.index]
    before = shared.graphsafe_get_state()
    shared.graphsafe_set_state(generator)
    try:
        with torch.cuda.stream(stream):
            yield
    finally:
        shared.graphsafe_set_state(before)
