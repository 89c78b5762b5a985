"""Autocast's lists for CUDA: which type an operator computes in under mixed precision.

Names are torch's. Each list is the one of the same macro in aten/src/ATen/autocast_mode.h (torch
2.13), with the operators that composites reach the dispatcher as; the sense is told at
https://docs.pytorch.org/docs/stable/amp.html#autocast-op-reference. A test holds them against what
torch registers. `autocast_of_gpu` is the switch: code of a network asks and turns it as on a GPU.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.amp import autocast_mode

LOWER, FP32, WIDEST, REFUSED = (
    frozenset(names.split())
    for names in (
        # AT_FORALL_LOWER_PRECISION_FP
        "_convolution conv1d conv2d conv3d conv_tbc conv_transpose1d conv_transpose2d "
        "conv_transpose3d convolution cudnn_convolution cudnn_convolution_transpose prelu "
        "_prelu_kernel addmm addmv addr matmul einsum mm mv linalg_vecdot linear addbmm baddbmm "
        "bmm chain_matmul linalg_multi_dot _thnn_fused_lstm_cell _thnn_fused_gru_cell lstm_cell "
        "gru_cell rnn_tanh_cell rnn_relu_cell _scaled_dot_product_flash_attention "
        "scaled_dot_product_attention",
        # AT_FORALL_FP32, AT_FORALL_FP32_SET_OPT_DTYPE and the norms that append a type
        "acos asin cosh erfinv exp expm1 log log10 log2 log1p reciprocal rsqrt sinh tan pow "
        "softplus layer_norm native_layer_norm rms_norm _fused_rms_norm group_norm "
        "native_group_norm norm frobenius_norm nuclear_norm cosine_similarity poisson_nll_loss "
        "cosine_embedding_loss nll_loss nll_loss2d hinge_embedding_loss kl_div l1_loss "
        "smooth_l1_loss huber_loss mse_loss margin_ranking_loss multilabel_margin_loss "
        "soft_margin_loss triplet_margin_loss multi_margin_loss binary_cross_entropy_with_logits "
        "dist pdist cdist renorm logsumexp upsample_nearest1d _upsample_nearest_exact1d "
        "upsample_nearest2d _upsample_nearest_exact2d upsample_nearest3d "
        "_upsample_nearest_exact3d upsample_linear1d upsample_bilinear2d _upsample_bilinear2d_aa "
        "upsample_trilinear3d upsample_bicubic2d _upsample_bicubic2d_aa prod softmax _softmax "
        "log_softmax _log_softmax cumprod cumsum linalg_vector_norm linalg_matrix_norm sum",
        # AT_FORALL_PROMOTE
        "addcdiv addcmul atan2 bilinear cross dot vdot grid_sampler grid_sampler_2d "
        "grid_sampler_3d index_put tensordot scatter_add",
        "binary_cross_entropy",  # raises: its logarithm overflows in fp16
    )
)
_SPELT = {"grid_sample": "grid_sampler"}  # by torch.nn.functional


def name_of(function: object) -> str:
    """torch's name of a function, a method or an operator: `matmul` also of `a @ b`."""
    name = str(getattr(function, "__name__", ""))
    if name.startswith("__") and name.endswith("__"):
        return name.strip("_").removeprefix("r")
    return _SPELT.get(name, name)


def autocast_type(name: str, tensors: Iterable[Tensor]) -> torch.dtype | None:
    """The type an operator's inputs are cast to under fp16 autocast; None where they stay.

    Args:
        name: torch's.
        tensors: its inputs.

    Raises:
        RuntimeError: autocast refuses the operator.
    """
    if name in REFUSED:
        raise RuntimeError(f"{name} is not allowed under autocast")
    if name in WIDEST:
        return torch.float32 if any(t.dtype == torch.float32 for t in tensors) else torch.float16
    return torch.float16 if name in LOWER else torch.float32 if name in FP32 else None


def is_castable(t: Tensor) -> bool:
    """Whether autocast casts a tensor at all: doubles, complex numbers and integers stay."""
    return t.is_floating_point() and t.dtype != torch.float64


@dataclass
class AutocastSwitch:
    """Whether autocast is on for what runs next."""

    on: bool


@contextmanager
def autocast_of_gpu(enabled: bool) -> Iterator[AutocastSwitch]:
    """While it lasts, autocast of CUDA is on or off, whether there is a GPU or not.

    `torch.autocast` in a network's code turns it, for tensors of the meta device too, which by
    itself knows no autocast: `with torch.autocast(x.device.type, enabled=False)` keeps what is in
    it in fp32. A GPU that is not there is no reason to leave it off. What a decorator made before,
    maybe off as there was no GPU, changes nothing.

    Yields: the switch as it stands. torch's own is of no use inside operators: it is off there.
    """
    kind: Any = autocast_mode.autocast
    common: Any = torch.cuda.amp.common
    create, enter, leave = kind.__init__, kind.__enter__, kind.__exit__
    misses, before = common.amp_definitely_not_available, torch.is_autocast_enabled("cuda")
    switch, outer = AutocastSwitch(enabled), list[bool]()

    def create_for_gpu(
        self: Any, device_type: str, dtype: Any = None, *args: Any, **kw: Any
    ) -> None:
        self.for_gpu = device_type in ("meta", "cuda")
        # fp16 stands for both types: without a GPU torch refuses bfloat16
        target = ("cuda", None) if self.for_gpu else (device_type, dtype)
        create(self, *target, *args, **kw)

    def enter_on_gpu(self: Any) -> Any:
        outer.append(switch.on)
        switch.on = self._enabled if getattr(self, "for_gpu", False) else switch.on
        return enter(self)

    def leave_on_gpu(self: Any, *raised: Any) -> Any:
        switch.on = outer.pop()
        return leave(self, *raised)

    try:
        kind.__init__, kind.__enter__, kind.__exit__ = create_for_gpu, enter_on_gpu, leave_on_gpu
        common.amp_definitely_not_available = lambda: False
        torch.set_autocast_enabled("cuda", enabled)
        yield switch
    finally:
        torch.set_autocast_enabled("cuda", before)
        kind.__init__, kind.__enter__, kind.__exit__ = create, enter, leave
        common.amp_definitely_not_available = misses
