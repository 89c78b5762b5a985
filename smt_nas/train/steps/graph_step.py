"""Updates as replays of one CUDA graph: the host starts a thousand kernels with one call.

The graph reads its batches, rates and the moving average's weight from tensors that stay where
they are, and that are filled before each replay. Random numbers come from torch's generator of the
device: a replay goes on from its seed of then, as plain operators do
(https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from smt_nas.errors import one_line
from smt_nas.train.steps.masked_update import MaskedUpdate
from smt_nas.train.steps.update_parts import Batch, UpdateOutcome

_WARM_UPS = 3  # as torch's own notes do; cuDNN has chosen its kernels then


class Graph(Protocol):
    """Kernels that were captured."""

    def replay(self) -> None:
        """Compute them again, on the stream of now."""


Capture = Callable[[Callable[[], Tensor], torch.device], tuple[Graph, Tensor]]
"""Captures a function that was run before; returns the graph and the tensor of its results."""


class GraphStep:
    """Makes updates of a network by replaying the first one.

    Args:
        update: what an update computes.
        average: timm's ModelEmaV3, whose weights `update` moves; None for none.
        explain: is told why an update cannot be captured.
        capture: how a graph is made.

    Attributes:
        failed: an update cannot be captured; the weights are as they were.
    """

    def __init__(
        self,
        update: MaskedUpdate,
        average: Any | None,
        explain: Callable[[str], None],
        capture: Capture,
    ) -> None:
        self.failed = False
        self._update = update
        self._average = average
        self._explain = explain
        self._capture = capture
        self._inputs: list[Batch] = []
        self._graph: Graph | None = None
        self._figures: Tensor | None = None

    def run(self, number: int, batches: Sequence[Batch]) -> UpdateOutcome | None:
        """Make update `number`, whose rates stand in the optimizer's groups already.

        Returns: what came of it; None where it could not be captured and was not made.
        """
        self._fill_values(number)
        if self._graph is None or not _are_alike(self._inputs, batches):
            self.forget()
            self._record(batches)
            if self.failed:
                return None
        else:
            for (images, targets), (new_images, new_targets) in zip(
                self._inputs, batches, strict=True
            ):
                images.copy_(new_images, non_blocking=True)
                targets.copy_(new_targets, non_blocking=True)
        assert self._graph is not None and self._figures is not None
        self._graph.replay()
        loss, is_updated = self._figures.clone()
        return UpdateOutcome(loss, is_updated)

    def forget(self) -> None:
        """Capture anew at the next update: the tensors of weights or moments are others now."""
        self._graph = self._figures = None
        self._inputs = []

    def _fill_values(self, number: int) -> None:
        update = self._update
        for rate, group in zip(update.rates, update.optimizer.param_groups, strict=True):
            rate.fill_(float(group["lr"]))
        if self._average is not None:
            update.average_weight.fill_(1 - self._average.get_decay(number + 1))

    def _record(self, batches: Sequence[Batch]) -> None:
        """Capture an update, after some that change nothing but the generator, which is put back.

        A replay computes the update once more: it is not made by being captured.
        """
        update, device = self._update, batches[0][0].device
        self._inputs = [(images.clone(), targets.clone()) for images, targets in batches]
        update.model.train()
        update.enabled.fill_(0)
        before = _generator_state(device)
        try:
            self._graph, self._figures = self._capture(lambda: update.compute(self._inputs), device)
        except RuntimeError as error:  # an operator that no graph can hold
            if (full := _find_memory_error(error)) is not None:
                raise full from None
            self.failed = True
            self.forget()
            update.optimizer.zero_grad(set_to_none=True)
            self._explain(one_line(error))
        finally:
            _restore_generator(device, before)
            update.enabled.fill_(1)


def _are_alike(inputs: Sequence[Batch], batches: Sequence[Batch]) -> bool:
    """Whether the batches fit into the graph's tensors."""
    kinds = [[(t.shape, t.dtype) for b in given for t in b] for given in (inputs, batches)]
    return kinds[0] == kinds[1]


def _find_memory_error(error: BaseException | None) -> torch.OutOfMemoryError | None:
    """The memory that was lacking, where a capture that ends by it raises something else."""
    while error is not None and not isinstance(error, torch.OutOfMemoryError):
        error = error.__context__
    return error


def _generator_state(device: torch.device) -> Tensor:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def _restore_generator(device: torch.device, state: Tensor) -> None:
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.set_rng_state(state)


def capture_cuda_graph(compute: Callable[[], Tensor], device: torch.device) -> tuple[Graph, Tensor]:
    """Run a function a few times, then capture it.

    All of it on one stream, that of now or one beside the default stream: kernels that autograd
    starts run on the stream on which their weights were first used.
    """
    with torch.cuda.device(device):
        current = torch.cuda.current_stream()
        is_default = current == torch.cuda.default_stream()
        stream = current
        if is_default:
            stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(current)
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UPS):
                compute()
        graph = torch.cuda.CUDAGraph()
        # the threads of a loader may go on with what the strictest mode forbids to all threads
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            figures = compute()
        current.wait_stream(stream)
    return graph, figures
