"""torch's global switches, set around each call and put back after it.

Calls of several conditions are timed in turn, so none may leave its switches on for the next.
Setting the few that differ takes about a microsecond.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from smt_nas.conditions import Conditions
from smt_nas.runtime.host import available_cores


@contextmanager
def apply_torch_settings(conditions: Conditions, device: torch.device) -> Iterator[None]:
    """Run a block under the switches of `conditions`."""
    if device.type == "cpu":
        with _threads(conditions.threads or available_cores()):
            yield
    else:
        with _cuda(tf32=conditions.precision == "tf32"):
            yield


@contextmanager
def _threads(wanted: int) -> Iterator[None]:
    before = torch.get_num_threads()
    if wanted == before:
        yield
        return
    torch.set_num_threads(wanted)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _cuda(tf32: bool) -> Iterator[None]:
    """TF32 on or off in matrix products and convolutions; cuDNN picks by trying."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark
    matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark = tf32, tf32, True
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark = before


@contextmanager
def keep_random_state(device: torch.device) -> Iterator[None]:
    """Put torch's random state back after a block: stochastic depth draws from it."""
    gpus = [device.index] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus):
        yield
