"""Whether a network fits: what it needs, by an estimate, and what is free on this machine.

Linux grants more memory than there is and ends processes later, so what cannot fit is refused
before. What activations need is seen in one forward on tensors without data. 1 MB = 1e6 bytes.
"""

from __future__ import annotations

import copy
import math
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils import _pytree
from torch.utils._python_dispatch import TorchDispatchMode

from smt_nas.conditions import Conditions
from smt_nas.errors import MeasurementError
from smt_nas.profilers.network_loader import Network
from smt_nas.runtime.torch_device import DTYPES
from smt_nas.runtime.torch_settings import keep_random_state

MAX_SHARE = 0.9  # of the memory that is left, which a batch may take
_PER_INPUT = 1000  # images' bytes, which no usual network's activations are more than
_WORKSPACE = {False: 1.3, True: 1.1}  # kernels copy what they read: 1.3 seen; in training 1.02
_TRAINED = 4  # weights, gradients, momentum, and the update under way
_TRIED = 2  # images of a forward on real tensors; training with batch norm refuses a single one
_CGROUP = Path("/sys/fs/cgroup")


class DoesNotFit(MeasurementError):
    """The device's memory does not hold the network at this batch."""


def image_shape(network: Network, conditions: Conditions) -> tuple[int, int, int, int]:
    """One input: (B, C, H, W)."""
    size = conditions.image_size or network.image_size
    return conditions.batch, network.channels, size, size


def check_room(
    network: Network, model: nn.Module, conditions: Conditions, device: torch.device
) -> None:
    """Refuse what a CPU's memory does not hold: the images, weights, and activations.

    Args:
        network: what runs.
        model: its module, in its type.
        conditions: how.
        device: where; a GPU refuses by itself.

    Raises:
        DoesNotFit: with both figures.
    """
    if device.type != "cpu":
        return
    free = available_mb()
    needed = estimate_memory_mb(network, model, conditions, MAX_SHARE * free)
    if needed > MAX_SHARE * free:
        raise DoesNotFit(f"needs about {needed:.0f} MB, and {free:.0f} MB are free")


def estimate_memory_mb(
    network: Network, model: nn.Module, conditions: Conditions, enough: float
) -> float:
    """Memory of a call on a CPU, MB: an estimate that rather errs high.

    Activations are left out where that surely changes nothing: the images alone need more than
    `enough`, or a thousand times as much is still less. `amp-*` counts as fp32, `compile` as eager.
    """
    shape, weights = (
        image_shape(network, conditions),
        _size_mb([*model.parameters(), *model.buffers()]),
    )
    pure = conditions.precision in ("fp16", "bf16")
    images = 4 * math.prod(shape) / 1e6
    fixed = images + (_TRAINED if conditions.train else 1) * weights
    if images > enough or fixed + _PER_INPUT * images <= enough:
        return fixed
    model.train(conditions.train)
    activations = estimate_activations_mb(
        model, shape, DTYPES[conditions.precision] if pure else torch.float32
    )
    return fixed + _WORKSPACE[conditions.train] * (activations or 0.0)


def _size_mb(tensors: list[torch.Tensor]) -> float:
    return sum(t.nbytes for t in tensors) / 1e6


def estimate_activations_mb(
    model: nn.Module, shape: tuple[int, ...], dtype: torch.dtype
) -> float | None:
    """The most memory that activations hold at a time in one forward, MB of 1e6 bytes.

    Args:
        model: on the CPU, in the mode it will run in; a training one keeps what backward needs.
        shape: (B, C, H, W).
        dtype: of the image.

    Returns: MB; None where the network runs neither way.
    """
    tensors = [*model.named_parameters(), *model.named_buffers()]
    weights = {name: _to_meta(t, model.training) for name, t in tensors}
    try:
        image = torch.empty(shape, dtype=dtype, device="meta")
        return _peak_activations_mb(
            lambda: functional_call(model, weights, (image,)), model, [*weights.values()]
        )
    except Exception:  # an operator without a meta kernel, or the network reads values
        return _activations_by_running_mb(model, shape, dtype)


def _activations_by_running_mb(
    model: nn.Module, shape: tuple[int, ...], dtype: torch.dtype
) -> float | None:
    weights = [*model.parameters(), *model.buffers()]
    try:
        image = torch.zeros(_TRIED, *shape[1:], dtype=dtype)
        mb = _peak_activations_mb(lambda: model(image), model, weights)
    except Exception:  # the first call will tell what fails
        return None
    return mb * shape[0] / _TRIED


def _peak_activations_mb(
    forward: Callable[[], object], model: nn.Module, weights: list[Tensor]
) -> float:
    alive = _LiveStorages(weights)
    with (
        keep_module_state(model),
        keep_random_state(torch.device("cpu")),
        torch.set_grad_enabled(model.training),
        alive,
    ):
        forward()
    return alive.most / 1e6


@contextmanager
def keep_module_state(model: nn.Module) -> Iterator[None]:
    """What a forward writes into its modules is undone after a block.

    A network that keeps a grid or a mask of its first image would keep one without numbers, of the
    meta device. Attributes are put back, and what lists and dicts among them held.
    """
    before = [(m, {k: _copy_shallow(v) for k, v in vars(m).items()}) for m in model.modules()]
    try:
        yield
    finally:
        for module, attributes in before:
            vars(module).clear()
            vars(module).update(attributes)


def _copy_shallow(value: object) -> object:
    return copy.copy(value) if isinstance(value, dict | list | set) else value


def _to_meta(t: Tensor, train: bool) -> Tensor:
    return t.detach().to("meta").requires_grad_(train and t.requires_grad)


class _LiveStorages(TorchDispatchMode):  # type: ignore[no-untyped-call]
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
                self._add(t.untyped_storage())
        return out

    def _add(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return
        self._known.add(key)
        self.now += size
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self._drop, key, size).atexit = False

    def _drop(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size


def available_mb(cgroup: Path = _CGROUP) -> float:
    """Memory that this process may still take: of the machine, and of its container."""
    machine = psutil.virtual_memory().available / 1e6
    container = _container_available_mb(cgroup)
    return machine if container is None else min(machine, container)


def _container_available_mb(cgroup: Path) -> float | None:
    """What is left of a cgroup's limit (version 2); cached files count as free."""
    try:
        limit, used = ((cgroup / f"memory.{n}").read_text().strip() for n in ("max", "current"))
        lines = (cgroup / "memory.stat").read_text().splitlines()
    except OSError:
        return None
    if not limit.isdecimal():  # "max": there is none
        return None
    cached = sum(int(n) for k, n in map(str.split, lines) if k in ("inactive_file", "active_file"))
    return max(int(limit) - int(used) + cached, 0) / 1e6
