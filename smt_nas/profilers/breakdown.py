"""Where the time of one inference goes: by stage, block or kind of operator.

MACs, bytes and the roofline's bound come from the operators of the trace; the time is measured,
operator by operator, where the device is here and the mode is eager, and predicted elsewhere.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from smt_nas.conditions import Conditions
from smt_nas.costs.ops import Op
from smt_nas.devices.device import Device, OpTimes
from smt_nas.errors import MeasurementError, one_line
from smt_nas.metrics import Provenance
from smt_nas.models import build
from smt_nas.models.operators import kind_of
from smt_nas.models.trace import NOTHING, module_paths, run_compiled_eagerly, trace
from smt_nas.profilers.latency.prepare import prepare
from smt_nas.profilers.network_loader import Network, module_copier

By = Literal["stage", "block", "op"]
_COMPOSITE = torch._C.DispatchKey.CompositeImplicitAutograd
_ROUNDS, _SECONDS = 9, 5.0  # of measured operators: the median of this many forwards
_Where = tuple[str, str]  # module path, kind of operator


@dataclass(frozen=True)
class Piece:
    """A part of a network, or all operators of a kind.

    Attributes:
        name: module path, or the kind of operator.
        ops: operators in it.
        ms: their time; None where it is not known.
        macs: multiply-accumulates of the whole batch.
        bytes: activations and weights that they read and write.
        bound: what limits most of its time by the roofline: compute, memory or launch.
    """

    name: str
    ops: int
    ms: float | None
    macs: int
    bytes: int
    bound: str


@dataclass(frozen=True)
class Breakdown:
    """The pieces of a network, in the order they run, or by time where they are kinds."""

    network: str
    conditions: Conditions
    by: By
    provenance: Provenance
    pieces: tuple[Piece, ...]


def break_down(
    network: Network, device: Device, where: str | None, conditions: Conditions, by: By
) -> Breakdown:
    """Tell where the time of one inference goes.

    Args:
        network: what runs.
        device: its sheet tells the bounds.
        where: `cpu` or `cuda:0` where the device is here; None where times are predicted.
        conditions: how it runs. Only eager inference is measured by operator.
        by: what a piece is.

    Raises:
        MeasurementError: its operators cannot be seen one by one, or not be predicted.
    """
    ops = trace_operators(network, conditions)
    times = device.op_times(ops, conditions, network.is_smt)
    ms: Mapping[_Where, float] = _sum_by_place(ops, times.ms)
    source: Provenance = "predicted"
    if where is not None and conditions.mode == "eager" and not conditions.train:
        try:
            ms, source = measure_operators(network, where, conditions), "measured"
        except Exception as error:  # hooks and modes on anybody's code
            raise MeasurementError(
                f"{network.name}: its operators cannot be timed one by one "
                f"(got {one_line(error)}). Leave --by out."
            ) from error
    pieces = _gather_pieces(ops, times, ms, by, conditions)
    return Breakdown(network.name, conditions, by, source, pieces)


def trace_operators(network: Network, conditions: Conditions) -> list[Op]:
    """Operators of one inference of a whole batch, traced on meta tensors.

    Raises:
        MeasurementError: the network's forward does not run on shapes alone, as where it looks at
            numbers, or not under autocast; or it runs nothing.
    """
    size = conditions.image_size or network.image_size
    image = (network.channels, size, size)
    # without its casts they are none of the run's: a network that autocast refuses has a trace
    tries = (True,) if conditions.precision.startswith("amp") else (True, False)
    reason: Exception | None = None
    for autocast in tries:
        try:
            ops = trace(
                _build_on_meta(network), image, conditions.batch, conditions.channels_last, autocast
            )
        except Exception as error:  # anybody's code
            reason = error
            continue
        if ops:
            return ops
        raise MeasurementError(f"{network.name}: not predicted, as it runs no operator.")
    assert reason is not None
    raise MeasurementError(
        f"{network.name}: not predicted, as its forward does not run on shapes alone "
        f"(got {one_line(reason)}). Measure it on the device."
    ) from reason


def _build_on_meta(network: Network) -> nn.Module:
    if network.arch is not None:
        return build(network.arch, device="meta").eval()
    model = module_copier(network)()
    if any(isinstance(module, torch.jit.ScriptModule) for module in model.modules()):
        raise TypeError("TorchScript has no shapes without numbers")
    return model.to("meta")


def measure_operators(network: Network, where: str, conditions: Conditions) -> dict[_Where, float]:
    """Milliseconds by module path and kind: medians over some forwards, each operator waited for.

    On a GPU the sum exceeds the latency, since nothing overlaps.
    """
    model = network.build()
    runnable = prepare(replace(network, build=lambda: model), conditions, where)
    rounds: list[dict[_Where, float]] = []
    try:
        runnable.first()
        end = time.perf_counter() + _SECONDS
        while len(rounds) < _ROUNDS and (not rounds or time.perf_counter() < end):
            timer = _OperatorTimer(model, where)
            with run_compiled_eagerly(), module_paths(model, timer.stack), timer:
                runnable()
            rounds.append(timer.spent)
    finally:
        runnable.close()
    return {key: float(np.median([r[key] for r in rounds])) for key in rounds[0]}


class _OperatorTimer(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Times every dispatched operator of a module, alone.

    Attributes:
        stack: paths of the modules that run, the innermost last.
        spent: milliseconds by module path and kind.
    """

    def __init__(self, model: nn.Module, where: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.stack = [""]
        self.spent: dict[_Where, float] = defaultdict(float)
        self._weights = {t.untyped_storage().data_ptr() for t in model.parameters()}
        self._cuda = where.startswith("cuda")

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        """Run and time one operator."""
        if func in NOTHING or func.is_view:
            return func(*args, **(kwargs or {}))
        if func.has_kernel_for_dispatch_key(_COMPOSITE):  # inference mode hands these on whole
            with self:
                return func.decompose(*args, **(kwargs or {}))
        start = time.perf_counter_ns()
        out = func(*args, **(kwargs or {}))
        if self._cuda:
            torch.cuda.synchronize()
        taken = (time.perf_counter_ns() - start) / 1e6
        name = func.overloadpacket.__name__
        attention = "scaled_dot_product" in name
        kind = "attention" if attention else kind_of(name, func, args, self._is_weight)
        self.spent[self.stack[-1], kind] += taken
        return out

    def _is_weight(self, t: torch.Tensor) -> bool:
        return t.untyped_storage().data_ptr() in self._weights


def _sum_by_place(ops: Sequence[Op], ms: Iterable[float]) -> dict[_Where, float]:
    total: dict[_Where, float] = defaultdict(float)
    for op, t in zip(ops, ms, strict=True):
        total[op.path, op.kind] += float(t)
    return total


def _gather_pieces(
    ops: Sequence[Op],
    times: OpTimes,
    ms: Mapping[_Where, float],
    by: By,
    conditions: Conditions,
) -> tuple[Piece, ...]:
    """Gather operators into pieces."""
    keys: list[_Where] = [*ms, *((op.path, op.kind) for op in ops)]
    names = {key: _name_piece(*key, by) for key in keys}
    spent: dict[str, float] = defaultdict(float)
    for key, value in ms.items():
        spent[names[key]] += value
    members: dict[str, list[int]] = defaultdict(list)
    amp = conditions.precision.startswith("amp")
    for i, op in enumerate(ops):
        if amp or op.kind != "cast":  # else nothing is cast
            members[names[op.path, op.kind]].append(i)
    pieces = [
        Piece(
            name,
            len(rows),
            spent.get(name),
            sum(ops[i].macs for i in rows),
            sum(_count_bytes(ops[i], conditions) for i in rows),
            _find_bound(times, rows),
        )
        for name, rows in members.items()
    ]
    if by == "op":
        pieces.sort(key=lambda p: -(p.ms or 0.0))
    return tuple(pieces)


def _name_piece(path: str, kind: str, by: By) -> str:
    """The piece an operator belongs to."""
    if by == "op":
        return kind
    words = path.split(".")
    depth = next((i + 1 for i, w in enumerate(words) if w.isdecimal()), 1)
    if by == "block" and len(words) > depth:
        deeper = (i + 1 for i, w in enumerate(words) if i >= depth and w.isdecimal())
        depth = next(deeper, depth + 1)
    return ".".join(words[:depth]) or "network"


def _count_bytes(op: Op, conditions: Conditions) -> int:
    """What an operator reads and writes, without reuse."""
    wide = op.wide and conditions.precision.startswith("amp")
    size = 4 if wide or conditions.precision in ("fp32", "tf32") else 2
    return (op.read + op.written + op.weights) * size


def _find_bound(times: OpTimes, rows: Sequence[int]) -> str:
    """The bound that most of a piece's predicted time is under."""
    spent: dict[str, float] = defaultdict(float)
    for i in rows:
        spent[str(times.bound[i])] += float(times.ms[i])
    return max(spent, key=lambda word: spent[word])
