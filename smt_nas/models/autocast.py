"""Autocast's lists for CUDA: which type an operator computes in under mixed precision.

Names are torch's. Each list is the one of the same macro in aten/src/ATen/autocast_mode.h (torch
2.13), with the operators that composites reach the dispatcher as; the sense is told at
https://docs.pytorch.org/docs/stable/amp.html#autocast-op-reference. A test holds them against what
torch registers.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

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
