"""A network under conditions, on a device, made ready to be timed: a `Runnable`.

- inference: eval mode, inference mode; training: forward, mean square of the logits as the loss,
  backward, SGD with momentum, gradients set to None (gradients of `amp-fp16` are scaled)
- inputs rotate, so that no call finds its image in the cache: as many as fill twice the GPU's L2,
  at least four
- `compile` is torch.compile with static shapes; `graph` replays one CUDA graph, after copying the
  next image into it as a caller would; `fused` is an SMT's deploy form, `onnx` and `openvino` run
  that form, or any network, by a runtime of its own
- torch's settings, random state and modes are as they were after every call
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from smt_nas.conditions import DEPLOYED, Conditions, Mode
from smt_nas.errors import MeasurementError, one_line
from smt_nas.models import SMT
from smt_nas.models.fused import FusedSMT
from smt_nas.profilers.latency.clock import Runnable
from smt_nas.profilers.latency.deployed_file import DeployedRunnable
from smt_nas.profilers.memory_estimate import DoesNotFit, check_room, image_shape
from smt_nas.profilers.network_loader import Network, set_mode
from smt_nas.runtime.backends.deploy import deploy
from smt_nas.runtime.torch_device import DTYPES, check, open_device
from smt_nas.runtime.torch_settings import apply_torch_settings, keep_random_state

_MIN_SETS, _MAX_INPUT_BYTES = 4, 1 << 30
_COMPILED_FORMS = 1 << 16  # torch.compile falls back to eager, silently, after 8 networks of a kind
_LEARNING_RATE = 1e-6  # so that thousands of steps on noise stay finite
_CAPTURE_WARMUP = 3  # forwards on a side stream before a capture, as torch asks for
_FULL = ("out of memory", "can't allocate memory", "ALLOC_FAILED")
"""What CUDA, the CPU's allocator, and cuBLAS or cuDNN say where memory ends."""
_NO_ROOM = "needs more memory than there is. Use a smaller batch, image or network."


def prepare(
    network: Network, conditions: Conditions, device: str = "cpu", *, sets: int | None = None
) -> Runnable:
    """Make a network ready to be timed.

    Args:
        network: what to run.
        conditions: how. Its `image_size` overrides the network's.
        device: `cpu`, `cuda` or `cuda:N`.
        sets: inputs that rotate; as many as latency needs where None.

    Raises:
        MeasurementError: the device is not there or cannot do this, with the reason; `DoesNotFit`
            where its memory is too small.
    """
    if network.file is not None:
        return DeployedRunnable(network, conditions, device)
    target = open_device(device)
    check(conditions, target)
    with _explain_errors(network, conditions, target):
        return _NetworkRunnable(network, conditions, target, sets)


class _NetworkRunnable:
    """The one `Runnable` there is."""

    def __init__(
        self,
        network: Network,
        conditions: Conditions,
        device: torch.device,
        sets: int | None = None,
    ) -> None:
        self.name = network.name
        self.device = str(device)
        self.conditions = conditions
        self.compile_ms: float | None = None
        self._network, self._device = network, device
        torch_side = _torch_conditions(conditions)
        model = _place(_choose_form(network.build(), conditions.mode), torch_side, device)
        if conditions.mode == "fused" and isinstance(model, FusedSMT):
            model = model.packed()
        check_room(network, model, conditions, device)
        self._images = _draw_images(network, torch_side, device, sets)
        self._turn = 0
        self._step: Callable[[Tensor], object] = (
            _training_step(model, conditions, device)
            if conditions.train
            else self._deploy(model)
            if conditions.mode in DEPLOYED
            else _inference_step(model, conditions, device)
        )

    def _deploy(self, model: nn.Module) -> Callable[[Tensor], object]:
        """Hand the model to a runtime of its own; the time of that is the compiler's."""
        start = time.perf_counter()
        _want_gradients(set_mode(model, training=False), False)
        graph = deploy(model, self._images[0], self.conditions)
        self.compile_ms = (time.perf_counter() - start) * 1e3
        return lambda image: graph.call(image.numpy())

    def first(self) -> None:
        """The first call, waited for."""
        with _explain_errors(self._network, self.conditions, self._device):
            if self.conditions.mode == "graph":
                self._capture()
            start = time.perf_counter()
            with _compile_quietly(self.conditions):
                self()
                self._wait()
            if self.conditions.mode == "compile":  # one forward is in it: milliseconds in seconds
                self.compile_ms = (time.perf_counter() - start) * 1e3

    def __call__(self) -> None:
        """One call on the next input."""
        image = self._images[self._turn]
        self._turn = (self._turn + 1) % len(self._images)
        with apply_torch_settings(self.conditions, self._device):
            self._step(image)

    def close(self) -> None:
        """Give the memory back."""
        self._images = []
        self._step = _raise_closed
        if self._device.type == "cuda":
            with suppress(RuntimeError):  # a GPU that fell off has nothing to give back
                torch.cuda.empty_cache()

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    def _capture(self) -> None:
        """Replace the step by one that replays a CUDA graph of it."""
        image, eager = self._images[0].clone(), self._step
        side = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.device(self._device), apply_torch_settings(self.conditions, self._device):
            with torch.cuda.stream(side):
                for _ in range(_CAPTURE_WARMUP):
                    eager(image)
            torch.cuda.current_stream().wait_stream(side)
            torch.cuda.synchronize()
            start, graph = time.perf_counter(), torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                logits = eager(image)
            self.compile_ms = (time.perf_counter() - start) * 1e3
        self._step = _Replay(graph, image, logits, eager)


@dataclass(frozen=True)
class _Replay:
    """A captured step. The graph knows addresses alone: what lies there must be kept by us."""

    graph: torch.cuda.CUDAGraph
    image: Tensor
    logits: object
    eager: Callable[[Tensor], object]  # has the weights

    def __call__(self, fresh: Tensor) -> object:
        self.image.copy_(fresh)
        self.graph.replay()
        return self.logits


def _raise_closed(image: Tensor) -> object:
    raise AssertionError("called after close")


def _torch_conditions(conditions: Conditions) -> Conditions:
    """What of them is torch's: a runtime of its own gets fp32, and is told what to compute in."""
    deployed = conditions.mode in DEPLOYED
    return conditions.model_copy(update={"precision": "fp32"}) if deployed else conditions


def _choose_form(model: nn.Module, mode: Mode) -> nn.Module:
    """The module that a mode runs: of an SMT its deploy form, but in the modes that keep it."""
    if mode in (*DEPLOYED, "fused") and isinstance(model, SMT):
        return model.fused()
    if mode == "fused" and not isinstance(model, FusedSMT):
        raise MeasurementError("only an SMT has a fused form")
    return model


def _place(model: nn.Module, conditions: Conditions, device: torch.device) -> nn.Module:
    """Move a module to the device, in its type and memory format."""
    if conditions.precision in ("fp16", "bf16"):
        model = model.to(dtype=DTYPES[conditions.precision])
    model = model.to(device)
    if conditions.channels_last:
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model


def _inference_step(
    model: nn.Module, conditions: Conditions, device: torch.device
) -> Callable[[Tensor], object]:
    _want_gradients(set_mode(model, training=False), False)
    forward, amp = _build_forward(model, conditions), conditions.precision.startswith("amp")
    dtype = DTYPES[conditions.precision]

    def step(image: Tensor) -> object:
        with torch.inference_mode(), torch.autocast(device.type, dtype, enabled=amp):
            return forward(image)

    return step


def _training_step(
    model: nn.Module, conditions: Conditions, device: torch.device
) -> Callable[[Tensor], object]:
    _want_gradients(set_mode(model, training=True), True)
    forward, amp = _build_forward(model, conditions), conditions.precision.startswith("amp")
    dtype = DTYPES[conditions.precision]
    optimizer = torch.optim.SGD(model.parameters(), lr=_LEARNING_RATE, momentum=0.9)
    scales = device.type == "cuda" and conditions.precision == "amp-fp16"
    scaler = torch.amp.GradScaler(device.type, enabled=scales)

    def step(image: Tensor) -> object:
        with keep_random_state(device), torch.enable_grad():
            with torch.autocast(device.type, dtype, enabled=amp):
                logits = first_tensor(forward(image))
                if logits is None or not logits.requires_grad:
                    raise MeasurementError("a training step needs a tensor with a gradient")
                loss = logits.float().square().mean()
            scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad(set_to_none=True)
            return loss

    return step


def _want_gradients(model: nn.Module, wanted: bool) -> None:
    """`requires_grad_`, which a scripted module does not have."""
    for parameter in model.parameters():
        parameter.requires_grad_(wanted)


def _build_forward(model: nn.Module, conditions: Conditions) -> Callable[[Tensor], object]:
    if conditions.mode != "compile":
        return model
    with _compile_quietly(conditions):
        compiled: Callable[[Tensor], object] = torch.compile(model, dynamic=False)
    return compiled


def first_tensor(output: object) -> Tensor | None:
    """The first tensor of what a network returned: itself, or inside tuples, lists and dicts."""
    if isinstance(output, Tensor):
        return output
    inside: Any = output.values() if isinstance(output, Mapping) else output
    if isinstance(output, Mapping | list | tuple):
        return next((t for t in map(first_tensor, inside) if t is not None), None)
    return None


def _draw_images(
    network: Network, conditions: Conditions, device: torch.device, sets: int | None
) -> list[Tensor]:
    """Sets of noise, each `(B, C, H, W)`."""
    pure = conditions.precision in ("fp16", "bf16")
    dtype = DTYPES[conditions.precision] if pure else torch.float32
    layout = torch.channels_last if conditions.channels_last else torch.contiguous_format
    generator = torch.Generator(device).manual_seed(0)
    first = torch.randn(image_shape(network, conditions), generator=generator, device=device)
    first = first.to(dtype).contiguous(memory_format=layout)
    others = range(
        1, sets or count_input_sets(first.nbytes, _l2_bytes(device))
    )  # cheaper than to draw anew
    return [first, *(first.roll(i, dims=-1) for i in others)]


def count_input_sets(input_bytes: int, cache_bytes: int) -> int:
    """How many inputs rotate: as many as fill a cache twice, at least four, at most a gigabyte."""
    wanted = max(_MIN_SETS, -(-2 * cache_bytes // input_bytes))
    return max(1, min(wanted, _MAX_INPUT_BYTES // input_bytes))


def _l2_bytes(device: torch.device) -> int:
    if device.type != "cuda":
        return 0
    return int(torch.cuda.get_device_properties(device).L2_cache_size)


@contextmanager
def _compile_quietly(conditions: Conditions) -> Iterator[None]:
    """Let torch.compile keep every network, and keep to itself what it warns of."""
    if conditions.mode != "compile":
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch._dynamo import config

        with config.patch(
            recompile_limit=_COMPILED_FORMS, accumulated_recompile_limit=_COMPILED_FORMS
        ):
            yield


@contextmanager
def _explain_errors(
    network: Network, conditions: Conditions, device: torch.device
) -> Iterator[None]:
    """Turn what torch or a network raises into one line."""
    where = f"{network.name} {conditions} on {device}"
    try:
        yield
    except MeasurementError as error:
        raise type(error)(f"{where}: cannot be run ({error}).") from error
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise DoesNotFit(f"{where}: {_NO_ROOM}") from error
    except Exception as error:  # the network's code and the compiler's may raise anything
        if any(words in str(error) for words in _FULL):
            raise DoesNotFit(f"{where}: {_NO_ROOM}") from error
        shape = ", ".join(map(str, image_shape(network, conditions)))
        takes = f" Its forward must take one tensor, images of ({shape})."
        way_out = takes if isinstance(error, TypeError) else ""
        raise MeasurementError(
            f"{where}: cannot be run (got {one_line(error)}).{way_out}"
        ) from error
