"""How many bytes the results of a forward hold at once, without running it: on meta tensors.

Every result is counted from when an operator writes it to when nothing refers to it any more, a
training step's saved tensors included. A network that does not run on meta tensors, as it reads
values, runs two images for it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils import _pytree
from torch.utils._python_dispatch import TorchDispatchMode

from smt_nas.runtime.torch_settings import random_state_kept

_TRIED = 2  # images; training with batch norm refuses a single one


def alive_mb(model: nn.Module, shape: tuple[int, ...], dtype: torch.dtype) -> float | None:
    """The most memory that activations hold at a time in one forward, MB of 1e6 bytes.

    Args:
        model: on the CPU, in the mode it will run in; a training one keeps what backward needs.
        shape: (B, C, H, W).
        dtype: of the image.

    Returns: MB; None where the network runs neither way.
    """
    placed = [*model.named_parameters(), *model.named_buffers()]
    meta = {name: _on_meta(t, model.training) for name, t in placed}
    try:
        image = torch.empty(shape, dtype=dtype, device="meta")
        return _most_mb(lambda: functional_call(model, meta, (image,)), model, [*meta.values()])
    except Exception:  # an operator without a meta kernel, or the network reads values
        return _tried_mb(model, shape, dtype)


def _tried_mb(model: nn.Module, shape: tuple[int, ...], dtype: torch.dtype) -> float | None:
    weights = [*model.parameters(), *model.buffers()]
    try:
        image = torch.zeros(_TRIED, *shape[1:], dtype=dtype)
        mb = _most_mb(lambda: model(image), model, weights)
    except Exception:  # the first call will tell what fails
        return None
    return mb * shape[0] / _TRIED


def _most_mb(forward: Callable[[], object], model: nn.Module, weights: list[Tensor]) -> float:
    alive = _Alive(weights)
    with (
        random_state_kept(torch.device("cpu")),
        torch.set_grad_enabled(model.training),
        alive,
    ):
        forward()
    return alive.most / 1e6


def _on_meta(t: Tensor, train: bool) -> Tensor:
    there = t.detach().to("meta")
    return there.requires_grad_(train and t.requires_grad)


class _Alive(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of every storage that an operator returns, as long as it lives."""

    def __init__(self, weights: list[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now, self.most = 0, 0
        self._known = {t.untyped_storage()._cdata for t in weights}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        """Run one operator and see what it returned."""
        out = func(*args, **(kwargs or {}))
        for t in _pytree.tree_leaves(out):
            if isinstance(t, Tensor):
                self._saw(t.untyped_storage())
        return out

    def _saw(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return
        self._known.add(key)
        self.now += size
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self._gone, key, size).atexit = False

    def _gone(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size
