"""Products that a counter does not see, noted while it counts: what its figure leaves out."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from smt_nas.models.trace import module_paths

PRODUCTS = frozenset(
    (
        *("linear", "bilinear", "matmul", "mm", "bmm", "mv", "dot", "einsum", "tensordot"),
        *("addmm", "addbmm", "baddbmm", "addmv"),
        *("conv1d", "conv2d", "conv3d"),
        *("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
        *("scaled_dot_product_attention", "multi_head_attention_forward"),
    )
)
"""Functions of torch that multiply and accumulate."""
UNCOUNTED = frozenset(
    (
        *("_trilinear", "dot", "vdot", "mv", "addmv", "addr", "_cdist_forward", "mkldnn_rnn_layer"),
        *("_fft_r2c", "_fft_c2c", "_fft_c2r"),
        *("grid_sampler_2d", "grid_sampler_3d", "deform_conv2d"),
    )
)
"""Operators that do too, of which torch's counter counts none (2.13) or, by its release, some."""


class UncountedWatch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Below torch's counter: notes operators that multiply and accumulate, and are not counted.

    Attributes:
        products: their names.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.products: set[str] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        """Any operator: done as it is."""
        packet = func.overloadpacket
        if packet not in flop_registry and packet.__name__ in UNCOUNTED:
            self.products.add(packet.__name__.strip("_"))
        return func(*args, **(kwargs or {}))


class ProductWatch(TorchFunctionMode):
    """While it lasts, notes products that a model computes outside of the modules that are known.

    Args:
        model: whose forward will run.
        known: kinds of modules that are counted, by exact type.

    Attributes:
        products: names of the functions.
    """

    def __init__(self, model: nn.Module, known: frozenset[type]) -> None:
        super().__init__()
        self.products: set[str] = set()
        self._kinds = {path: type(m) for path, m in model.named_modules()}
        self._known, self._model, self._path = known, model, [""]
        self._hooks = ExitStack()

    def unknown_kinds(self) -> list[str]:
        """Kinds of modules that hold weights of their own and are not known, e.g. `timm.Beit`."""
        own = {
            type(m) for m in self._model.modules() if next(m.parameters(False), None) is not None
        }
        return sorted(f"{k.__module__.partition('.')[0]}.{k.__name__}" for k in own - self._known)

    def __enter__(self) -> ProductWatch:
        self._hooks.enter_context(module_paths(self._model, self._path))
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *raised: Any) -> None:
        super().__exit__(*raised)  # type: ignore[no-untyped-call]
        self._hooks.close()

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        """Any function of torch: done as it is."""
        name = getattr(func, "__name__", "").strip("_").removeprefix("r")
        if name in PRODUCTS and self._kinds[self._path[-1]] not in self._known:
            self.products.add(name)
        return func(*args, **(kwargs or {}))
