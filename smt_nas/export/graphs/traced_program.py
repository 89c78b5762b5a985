"""A network traced by torch.export: what graphs are written from."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from smt_nas.errors import ExportError, SmtNasError, one_line
from smt_nas.export.exporter import ExportOptions
from smt_nas.export.manifest import Manifest
from smt_nas.runtime.imports import quiet_libraries

if TYPE_CHECKING:
    from torch import Tensor, nn

    from smt_nas.export.source import ExportSource

_EXAMPLE_BATCH = 2  # of a batch that may be any: an example of 1 makes it a constant in silence
_MOST_IMAGES = 65536
_OPERATOR = re.compile(r"aten(?:\.|::)(\w+)")


@dataclass(frozen=True)
class TraceShape:
    """Which images a graph takes.

    Attributes:
        batch: images; None for any number.
        image_size: pixels of a side; None for any.
        example: shape (B, C, H, W) of the images it is traced with.
    """

    batch: int | None
    image_size: int | None
    example: tuple[int, int, int, int]

    @classmethod
    def of(
        cls, source: ExportSource, options: ExportOptions, dynamic_batch: bool = True
    ) -> TraceShape:
        """What options ask for; any number of images where they say nothing and it can be."""
        batch = options.batch if options.batch is not None else ("dynamic" if dynamic_batch else 1)
        size = source.arch.image_size
        return cls(
            batch=batch if isinstance(batch, int) else None,
            image_size=None if options.image_size == "dynamic" else size,
            example=(
                batch if isinstance(batch, int) else _EXAMPLE_BATCH,
                source.arch.in_channels,
                size,
                size,
            ),
        )

    def dynamic_axes(self) -> dict[int, Any]:
        """For torch.export: what of the axes of the images is no constant."""
        from torch.export import Dim

        axes: dict[int, Any] = {}
        if self.batch is None:
            axes[0] = Dim("batch", min=1, max=_MOST_IMAGES)
        if self.image_size is None:
            axes |= {2: Dim.DYNAMIC, 3: Dim.DYNAMIC}
        return axes

    def manifest(self, manifest: Manifest) -> Manifest:
        """A manifest that says the shape."""
        return replace(manifest, batch=self.batch, image_size=self.image_size)


def deployed_module(source: ExportSource, options: ExportOptions) -> nn.Module:
    """The network in the form and precision that is deployed; images and logits stay in fp32."""
    import copy

    import torch
    from torch import nn

    model = source.deployed
    if options.precision == "fp32":
        return model
    dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}[options.precision]

    class InHalf(nn.Module):
        """Casts images on their way in, and logits on their way out."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = copy.deepcopy(model).to(dtype)

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.inner(images.to(dtype))
            return logits.float()

    return InHalf().eval()


def example_images(shape: TraceShape) -> Tensor:
    """Noise of the shape that is traced."""
    import torch

    return torch.randn(shape.example, generator=torch.Generator().manual_seed(0))


def trace(source: ExportSource, options: ExportOptions, shape: TraceShape) -> Any:
    """Trace a network.

    Returns: a `torch.export.ExportedProgram`.

    Raises:
        ExportError: it cannot be traced for these shapes.
    """
    import torch

    module = deployed_module(source, options)
    axes = (shape.dynamic_axes() or None,)
    with explain_errors("the network", "trace it for fixed shapes"), quiet_libraries():
        return torch.export.export(module, (example_images(shape),), dynamic_shapes=axes)


@contextmanager
def explain_errors(format_name: str, way_out: str) -> Iterator[None]:
    """Turn what a converter raises into one line that names the operator, where it does.

    Raises:
        ExportError: in place of any error but those of users and of the disk.
    """
    try:
        yield
    except (SmtNasError, OSError):
        raise
    except Exception as error:  # converters raise anything
        operator = find_operator(error)
        got = f"{operator}; {one_line(error)}" if operator else one_line(_innermost(error))
        raise ExportError(
            f"{format_name}: must be of operators and shapes that can be converted (got {got}). "
            f"Choose another format, or {way_out}."
        ) from error


def find_operator(error: BaseException) -> str:
    """The operator that an error and its causes speak of last, as `aten.name`; empty for none."""
    match = None
    for text in map(str, _list_causes(error)):
        match = next(iter(_OPERATOR.finditer(text)), match)
    return f"aten.{match[1]}" if match else ""


def _innermost(error: BaseException) -> BaseException:
    return list(_list_causes(error))[-1]


def _list_causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__


def load_graph_back(manifest: Manifest, precision: str | None = None) -> Callable[[Tensor], Tensor]:
    """The first file of an export by its own runtime, as a function of images."""
    import torch

    from smt_nas.runtime.backends import load_graph

    graph = load_graph(manifest.files[0], precision=precision)
    return lambda images: torch.from_numpy(graph.run(images.numpy()).copy())
