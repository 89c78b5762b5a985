"""The operators of a network, from one forward on meta tensors: shapes, no numbers, no memory.

The forward runs as under autocast, so that every operator knows whether it writes fp32 then, and
the casts that autocast adds are operators of their own (kind `cast`). They are added where torch
adds them: at the functions of its lists, whose own operators then run as they are; and at
operators, for functions that Python code of torch calls out of sight. Views cost nothing and are
no operators. `F.scaled_dot_product_attention` stays one operator, as it is on every device, unless
its inputs are not (B, heads, N, d): no fused kernel takes those, and torch spells it out in fp32.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch._prims_common import suggest_memory_format
from torch.overrides import TorchFunctionMode

from smt_nas.costs.ops import Kind, Op
from smt_nas.models.autocast import (
    AutocastSwitch,
    autocast_of_gpu,
    autocast_type,
    is_castable,
    name_of,
)
from smt_nas.models.operators import Shape, kind_of, shape_of
from smt_nas.models.shape_inference import OperatorMode, make_alike, run_on_shapes

aten = torch.ops.aten
NOTHING = {  # allocate or rename, launch nothing
    aten.empty.memory_format,
    aten.empty_like.default,
    aten.empty_strided.default,
    aten.new_empty.default,
    aten.new_empty_strided.default,
    aten._unsafe_view.default,
    aten._reshape_alias.default,
    aten.lift_fresh.default,
    aten.set_.source_Storage,
}


def trace(
    module: nn.Module,
    image: tuple[int, ...],
    batch: int = 1,
    channels_last: bool = False,
    autocast: bool = True,
) -> list[Op]:
    """Operators of one inference, in the order they run.

    The module is left as it was. Its weights may be anywhere, also on the meta device; nothing is
    computed with them. Drop path and the like are traced as the module's mode has it.

    Args:
        module: takes one tensor.
        image: shape of one input without the batch, e.g. (C, H, W).
        batch: inputs of the one forward.
        channels_last: images and convolutions' weights lie in channels-last memory.
        autocast: with its casts. Some networks run without it only. What the network itself runs
            with autocast on or off stays so.

    Raises:
        Exception: whatever the network's code raises on tensors without numbers.
    """
    x = torch.empty(batch, *image, device="meta")
    x = x.to(memory_format=torch.channels_last) if channels_last else x
    fast_path = torch.backends.mha.get_fastpath_enabled()
    with ExitStack() as stack:
        stack.callback(torch.backends.mha.set_fastpath_enabled, fast_path)
        torch.backends.mha.set_fastpath_enabled(False)  # one opaque operator
        stack.enter_context(torch.no_grad())
        stack.enter_context(run_compiled_eagerly())
        switch = stack.enter_context(autocast_of_gpu(autocast))
        recorder = _Recorder(module, channels_last, switch)
        stack.enter_context(module_paths(module, recorder.stack))
        stack.enter_context(recorder)
        stack.enter_context(_FunctionWatch(recorder))
        module(x)
    return recorder.ops


@contextmanager
def run_compiled_eagerly() -> Iterator[None]:
    """While it lasts, what torch.compile compiled runs operator by operator, where modes see it."""
    if "torch._dynamo" not in sys.modules:  # nothing was compiled, and its import takes a second
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


@contextmanager
def module_paths(module: nn.Module, stack: list[str]) -> Iterator[None]:
    """While it lasts, the last entry of `stack` is the path of the module that runs."""

    def enter(path: str) -> Callable[..., None]:
        return lambda *_: stack.append(path)

    def leave(*_: Any) -> None:
        stack.pop()

    hooks = []
    try:
        for path, child in module.named_modules():
            hooks.append(child.register_forward_pre_hook(enter(path)))
            hooks.append(child.register_forward_hook(leave))
        yield
    finally:
        for hook in hooks:
            hook.remove()


class _Recorder(OperatorMode):  # type: ignore[no-untyped-call]
    """Writes down every dispatched operator that launches work."""

    def __init__(self, module: nn.Module, channels_last: bool, switch: AutocastSwitch) -> None:
        super().__init__()
        self.channels_last = channels_last
        self.switch = switch
        self.inside_cast = False  # in the operators of one whose inputs were cast
        self.ops: list[Op] = []
        self.stack = [""]
        self.kept: list[Tensor] = []  # an address is never used twice while its tensor lives
        self.writer: dict[int, int] = {}  # storage -> index of the operator that wrote it
        self.weights = {_storage(t) for t in [*module.parameters(), *module.buffers()]}
        self.twins: dict[int, Tensor] = {}  # a cast weight is kept, as autocast keeps it

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        """Run one operator on meta tensors and write it down."""
        kwargs = kwargs or {}
        if func in NOTHING or func.is_view:
            return func(*args, **kwargs)
        name = func.overloadpacket.__name__
        tensors = list(_tensors(args))
        dtype = self.autocast_type(name, tensors)
        on_meta = any(t.is_meta for t in tensors)
        if on_meta or dtype is not None:
            args = _map_tensors(args, lambda t: self._ready_tensor(t, dtype, on_meta))
        if name == "native_layer_norm" and not args[0].is_contiguous():
            args = (self.copy_contiguous(args[0]), *args[1:])
        if name == "native_group_norm":  # over a whole map: the moments first, in another kernel
            moments = torch.empty(args[5], args[6], device="meta")
            self.record("moments", "reduce", Shape(), [args[0]], moments)
        out = run_on_shapes(func, args, kwargs)
        if name == "convolution" and self._channels_last(args[0]):
            out = torch.empty_like(out, memory_format=torch.channels_last)
        kind = kind_of(name, func, args, self._is_weight)
        self.record(name, kind, shape_of(name, args, out), list(_tensors(args)), _first(out))
        return out

    def record(
        self, name: str, kind: Kind, shape: Shape, reads: list[Tensor], out: Tensor | None
    ) -> None:
        """Append one operator."""
        index, written = len(self.ops), 0 if out is None else out.numel()
        sources, weights = [], 0
        for t in reads:
            storage, elements = _storage(t), min(t.numel(), _stored_elements(t))
            elements = min(elements, written) if kind == "copy" else elements  # gathers, slices
            if storage in self.weights:
                weights += elements
            else:
                sources.append((index - self.writer.get(storage, index), elements))
        if out is not None:
            self.kept.append(out)
            self.writer[_storage(out)] = index
        op = Op(
            path=self.stack[-1],
            name=name,
            kind=kind,
            read=sum(n for _, n in sources),
            written=written,
            weights=weights,
            sources=tuple(sources),
            wide=out is not None and out.dtype == torch.float32,
            channels_last=name == "convolution" and self._channels_last(reads[0]),
            strided=name == "convolution" and _is_strided(reads[0]),
            **shape._asdict(),
        )
        self.ops.append(op)

    def copy_contiguous(self, t: Tensor) -> Tensor:
        """A contiguous copy, which a layer norm makes for itself."""
        out = torch.empty(t.shape, dtype=t.dtype, device="meta")
        self.record("contiguous", "copy", Shape(), [t], out)
        return out

    def cast(self, t: Tensor, dtype: torch.dtype) -> Tensor:
        """What autocast hands on: the same tensor, or a copy of another float type."""
        if not is_castable(t) or t.dtype == dtype:
            return t
        storage = _storage(t)
        twin = self.twins.get(storage) if storage in self.weights else None
        if twin is None or twin.shape != t.shape:
            twin = make_alike(t, dtype)
            self.record("cast", "cast", Shape(), [t], twin)
            if storage in self.weights:
                self.twins[storage] = twin
                self.weights.add(_storage(twin))
        return twin

    def autocast_type(self, name: str, tensors: list[Tensor]) -> torch.dtype | None:
        """What autocast casts an operator's inputs to; None where it leaves them."""
        return autocast_type(name, tensors) if self.casts() else None

    def casts(self) -> bool:
        """Whether autocast is on for what runs next."""
        return self.switch.on and not self.inside_cast

    @contextmanager
    def without_autocast(self) -> Iterator[None]:
        """What runs inside is not cast, as in the operators of an operator that was."""
        before, self.inside_cast = self.inside_cast, True
        try:
            yield
        finally:
            self.inside_cast = before

    def _ready_tensor(self, t: Tensor, dtype: torch.dtype | None, on_meta: bool) -> Tensor:
        if on_meta and not t.is_meta:
            t = self._on_meta(t)
        return t if dtype is None else self.cast(t, dtype)

    def _on_meta(self, t: Tensor) -> Tensor:
        """A meta tensor in place of a real one, known as the same weight or result."""
        twin = make_alike(t)
        storage, other = _storage(t), _storage(twin)
        self.kept += [t, twin]
        if storage in self.weights:
            self.weights.add(other)
        if storage in self.writer:
            self.writer[other] = self.writer[storage]
        return twin

    def _channels_last(self, x: Tensor) -> bool:
        """Whether a convolution of `x` runs in channels-last memory: as its input or weight lies.

        An input with no such order, one channel or one pixel, counts as plain.
        """
        if x.ndim != 4 or self.channels_last:
            return x.ndim == 4
        return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()

    def _is_weight(self, t: Tensor) -> bool:
        return _storage(t) in self.weights


class _FunctionWatch(TorchFunctionMode):
    """Keeps scaled dot-product attention one operator, and casts what autocast's functions get."""

    def __init__(self, recorder: _Recorder) -> None:
        super().__init__()
        self.recorder = recorder

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        """Attention is written down here; all else goes on."""
        kwargs = kwargs or {}
        if func is torch.nn.functional.scaled_dot_product_attention:
            return self._attention(*args, **kwargs)
        given, recorder = list(_tensors([*args, *kwargs.values()])), self.recorder
        dtype = recorder.autocast_type(name_of(func), given) if given else None
        if dtype is None or kwargs.get("out") is not None:
            return func(*args, **kwargs)
        target = dtype
        args = _map_tensors(args, lambda t: recorder.cast(t, target))
        kwargs = {k: _map_tensors(v, lambda t: recorder.cast(t, target)) for k, v in kwargs.items()}
        with recorder.without_autocast():
            return func(*args, **kwargs)

    def _attention(
        self, q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None, *_: Any, **__: Any
    ) -> Tensor:
        if self.recorder.casts():
            q, k, v = (self.recorder.cast(t, torch.float16) for t in (q, k, v))
        if q.ndim != 4:
            return self._attend_in_plain_ops(q, k, v, attn_mask)
        (*lead, rows, depth), columns, width = q.shape, k.shape[-2], v.shape[-1]
        # kernels write (..., rows, heads, width), so that joining the heads is a view
        lead, heads = lead[:-1], lead[-1]
        out = torch.empty(*lead, rows, heads, width, dtype=q.dtype, device="meta")
        out = out.transpose(-3, -2)
        groups = q[..., 0, 0].numel()
        shape = Shape(groups * rows * columns * (depth + width), rows, columns, depth, groups)
        reads = [q, k, v] if attn_mask is None else [q, k, v, attn_mask]
        self.recorder.record("scaled_dot_product_attention", "attention", shape, reads, out)
        return out

    def _attend_in_plain_ops(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """Attention of plain operators, as torch computes it where no fused kernel does."""
        with self.recorder.without_autocast():
            scale = q.shape[-1] ** -0.25
            scores = (q.float() * scale) @ (k.float() * scale).transpose(-2, -1)
            scores = scores if mask is None else scores + mask
            out: Tensor = (scores.softmax(dim=-1) @ v.float()).to(q.dtype)
            return out


def _is_strided(x: Tensor) -> bool:
    """Whether `x` (B, C, H, W) is a slice of channels-last memory: in its order, with gaps."""
    if x.ndim != 4 or x.is_contiguous() or x.is_contiguous(memory_format=torch.channels_last):
        return False
    return suggest_memory_format(x) == torch.channels_last


def _storage(t: Tensor) -> int:
    return int(t.untyped_storage()._cdata)


def _stored_elements(t: Tensor) -> int:
    """Elements behind a tensor: an expanded one holds fewer than it shows."""
    return t.untyped_storage().nbytes() // t.element_size()


def _tensors(value: object) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)


def _map_tensors(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, list | tuple):
        items = [_map_tensors(item, change) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value


def _first(out: object) -> Tensor | None:
    return next(_tensors(out), None)
