"""What operators give on meta tensors, remembered: their shapes follow from those of their inputs.

Many of torch's operators work out shapes in Python (layer norm, GELU, sums: 0.1 to 1 ms each), and
a network runs the same ones in block after block. What has numbers, is a view, or writes into its
inputs is left to torch each time.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._prims_common import suggest_memory_format
from torch.utils._python_dispatch import TorchDispatchMode

_REMEMBERED = 1 << 15


class Layout(NamedTuple):
    """Of a meta tensor, all that an operator's result may depend on."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype


class _Value(NamedTuple):
    """Any other argument; 1, 1.0 and True are equal, and give other types."""

    kind: type
    value: Hashable


def run_on_shapes(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """What an operator gives; from memory where it was run on such meta tensors before.

    Args:
        func: an overload of an operator, e.g. `aten.add.Tensor`.
        args: of it.
        kwargs: of it.

    Raises:
        Exception: whatever the operator raises.
    """
    if func.is_view or _may_alias(func):
        return func(*args, **kwargs)
    try:
        key = (_describe(tuple(args)), _describe(tuple(sorted(kwargs.items()))))
        layouts = _infer_layouts(func, *key)
    except _NotRemembered:
        return func(*args, **kwargs)
    results = tuple(_make_tensor(layout) for layout in layouts)
    return results[0] if len(func._schema.returns) == 1 else results


class OperatorMode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees every operator, without torch's compiler, whose import would take a second."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False


class ShapeMemory(OperatorMode):  # type: ignore[no-untyped-call]
    """While it lasts, operators on meta tensors go by `run_on_shapes`."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        """Any operator."""
        return run_on_shapes(func, args, kwargs or {})


def make_alike(t: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """`torch.empty_like` on the meta device, without its way through Python where `t` is dense."""
    if not _is_dense(t):
        return torch.empty_like(t, dtype=dtype, device="meta")
    return torch.empty_strided(t.shape, t.stride(), dtype=dtype or t.dtype, device="meta")


def _is_dense(t: Tensor) -> bool:
    """Whether the elements lie in memory without gaps, in any order."""
    expected = 1
    for stride, size in sorted(zip(t.stride(), t.shape, strict=True)):
        if size != 1:
            if stride != expected:
                return False
            expected *= size
    return True


class _NotRemembered(Exception):
    """It has numbers, or gives something else than tensors."""


@lru_cache(1 << 12)
def _may_alias(func: Any) -> bool:
    """Whether an operator writes into its inputs, or may give them back."""
    schema = func._schema
    return any(value.alias_info is not None for value in (*schema.arguments, *schema.returns))


def _describe(value: Any) -> Hashable:
    """A value in which each tensor is its layout."""
    if isinstance(value, Tensor):
        if type(value) not in (Tensor, torch.nn.Parameter) or not value.is_meta:
            raise _NotRemembered
        return Layout(tuple(value.shape), value.stride(), value.dtype)
    if isinstance(value, tuple | list):
        return _Value(type(value), tuple(_describe(item) for item in value))
    if value is None or isinstance(value, bool | int | float | str | torch.dtype | torch.device):
        return _Value(type(value), value)
    if isinstance(value, torch.memory_format | torch.layout):
        return _Value(type(value), value)
    raise _NotRemembered


def _restore(described: Any) -> Any:
    """The value that `_describe` described, its tensors empty."""
    if isinstance(described, Layout):
        return _make_tensor(described)
    if described.kind in (tuple, list):
        return described.kind(_restore(item) for item in described.value)
    return described.value


def _make_tensor(layout: Layout) -> Tensor:
    return torch.empty_strided(layout.shape, layout.stride, dtype=layout.dtype, device="meta")


@lru_cache(_REMEMBERED)
def _infer_layouts(func: Any, args: Hashable, kwargs: Hashable) -> tuple[Layout, ...]:
    """Layouts of what an operator gives."""
    known = _KNOWN.get(func)
    layouts = None if known is None or len(_restore(kwargs)) else known(*_restore(args))
    if layouts is not None:
        return layouts
    results = func(*_restore(args), **dict(_restore(kwargs)))
    results = results if isinstance(results, tuple) else (results,)
    described = [_describe(result) for result in results]
    if not all(isinstance(layout, Layout) for layout in described):
        raise _NotRemembered
    return tuple(described)  # type: ignore[arg-type]


def _lay_out(t: Tensor) -> Layout:
    return Layout(tuple(t.shape), t.stride(), t.dtype)


def _infer_alike(x: Tensor, *_: Any) -> tuple[Layout, ...]:
    return (_lay_out(make_alike(x)),)


def _infer_pair(a: Tensor, b: Any, *_: Any) -> tuple[Layout, ...] | None:
    """Of a sum or product of two tensors, element by element: in the order of the first."""
    if not isinstance(b, Tensor) or a.shape != b.shape:
        return None
    if not a.is_contiguous():
        return None
    return (_lay_out(torch.empty(a.shape, dtype=torch.result_type(a, b), device="meta")),)


def _infer_batch_norm(x: Tensor, *others: Any) -> tuple[Layout, ...] | None:
    """Two moments a channel beside it; training is left to torch."""
    if others[4]:
        return None
    moment = Layout((x.shape[1],), (1,), torch.float32)
    return _lay_out(make_alike(x)), moment, moment


def _infer_layer_norm(x: Tensor, normalized: Sequence[int], *_: Any) -> tuple[Layout, ...] | None:
    """Two moments a row beside it."""
    if not x.is_contiguous():
        return None
    rows = (*x.shape[: x.ndim - len(normalized)], *(1,) * len(normalized))
    moment = _lay_out(torch.empty(rows, device="meta"))
    return _lay_out(x), moment, moment


def _infer_addmm(bias: Tensor, a: Tensor, b: Tensor, *_: Any) -> tuple[Layout, ...] | None:
    if len({t.dtype for t in (bias, a, b)}) > 1 or a.shape[1] != b.shape[0] or bias.ndim != 1:
        return None
    return (_lay_out(torch.empty(a.shape[0], b.shape[1], dtype=a.dtype, device="meta")),)


def _infer_stack(tensors: Sequence[Tensor], dim: int = 0) -> tuple[Layout, ...] | None:
    if len({_lay_out(t) for t in tensors}) > 1 or tensors[0].ndim != 3:
        return None
    parts = tensors[0].unsqueeze(dim)
    shape, at = list(parts.shape), dim % parts.ndim
    shape[at] = len(tensors)
    order = suggest_memory_format(parts)
    out = torch.empty(shape, dtype=parts.dtype, device="meta", memory_format=order)
    return (_lay_out(out),)


def _infer_mean(x: Tensor, dims: Sequence[int] | None, *others: Any) -> tuple[Layout, ...] | None:
    """Of floats over some dimensions, which are gone then."""
    if not dims or others or not x.is_contiguous() or not x.is_floating_point():
        return None
    gone = {dim % x.ndim for dim in dims}
    kept = [size for dim, size in enumerate(x.shape) if dim not in gone]
    return (_lay_out(torch.empty(kept, dtype=x.dtype, device="meta")),)


_KNOWN: dict[Any, Callable[..., tuple[Layout, ...] | None]] = {
    torch.ops.aten.relu.default: _infer_alike,
    torch.ops.aten.gelu.default: _infer_alike,
    torch.ops.aten.add.Tensor: _infer_pair,
    torch.ops.aten.mul.Tensor: _infer_pair,
    torch.ops.aten.native_batch_norm.default: _infer_batch_norm,
    torch.ops.aten.native_layer_norm.default: _infer_layer_norm,
    torch.ops.aten.addmm.default: _infer_addmm,
    torch.ops.aten.stack.default: _infer_stack,
    torch.ops.aten.mean.dim: _infer_mean,
}
"""Operators whose shapes torch works out by way of its compiler, whose import takes a second."""
