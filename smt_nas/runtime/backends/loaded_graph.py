"""A deployed network, loaded by its own runtime: images in, logits out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smt_nas.errors import MeasurementError

Images = NDArray[np.float32]
"""(B, C, H, W)."""
Logits = NDArray[np.float32]
"""(B, classes)."""
Shape = tuple[int | None, int | None, int | None, int | None]
"""(B, C, H, W); None where any number is taken."""


@dataclass(frozen=True)
class LoadedGraph:
    """A file that a runtime has loaded.

    Attributes:
        backend: name of the runtime, of BACKENDS.
        version: of the runtime.
        shape: of the images it takes.
        computes: what it computes in, e.g. `f32`.
        call: runs it, without a look at the shape.
        note: what its user should know of how it runs by itself, one sentence; may be empty.
    """

    backend: str
    version: str
    shape: Shape
    computes: str
    call: Callable[[Images], Logits]
    note: str = ""

    def run(self, images: Images) -> Logits:
        """Run it.

        Raises:
            MeasurementError: it does not take images of this shape. Not every runtime looks.
        """
        self.check_shape(tuple(images.shape))
        return self.call(images)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse images of a shape that it does not take. Raises MeasurementError."""
        if len(shape) != 4 or any(
            n is not None and n != m for n, m in zip(self.shape, shape, strict=False)
        ):
            raise MeasurementError(
                f"it takes images of {describe_shape(self.shape)} (got {'x'.join(map(str, shape))})"
            )

    def describe(self) -> str:
        """The runtime and what it computes in, e.g. `onnxruntime 1.32.0, f32`."""
        return f"{self.backend} {self.version}, {self.computes}"


def describe_shape(shape: Shape) -> str:
    """`any x3x224x224`."""
    return "x".join("any" if n is None else str(n) for n in shape)
