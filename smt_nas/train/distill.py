"""`--teacher`: soft targets of a trained network beside the labels.

Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015 (arXiv 1503.02531).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smt_nas.arch import Architecture
from smt_nas.errors import TrainingError, one_line
from smt_nas.profilers.network_loader import suggest_timm_name
from smt_nas.runtime.torchvision_ops import import_timm
from smt_nas.train.recipe import Distill
from smt_nas.train.weights.head_rows import reorder_head
from smt_nas.train.weights.weights import build_network, read_weights

_TIMM = "timm:"
_WIDE = (torch.float32, torch.float64)
Norm = tuple[Sequence[float], Sequence[float]]
"""Mean and standard deviation of the channels of images, in 0..1."""


class Teacher(nn.Module):
    """A network whose logits are learnt from; in eval mode always, and without gradients.

    Args:
        network: the network.
        theirs: what its images are normalised by.
        ours: what the images that come are normalised by.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, network: nn.Module, theirs: Norm, ours: Norm) -> None:
        super().__init__()
        self.network = network
        mean, std, new_mean, new_std = (
            torch.tensor(v, dtype=torch.float64).reshape(1, -1, 1, 1) for v in (*ours, *theirs)
        )
        # x = (p - mean) / std of a pixel p; wanted (p - new_mean) / new_std
        self.register_buffer("scale", (std / new_std).float())  # (1, C, 1, 1)
        self.register_buffer("shift", ((mean - new_mean) / new_std).float())
        self.same = bool((mean == new_mean).all() and (std == new_std).all())
        self.requires_grad_(False).train(False)

    def forward(self, images: Tensor) -> Tensor:
        """Images `(B, C, H, W)`, as the student gets them, to logits `(B, classes)`."""
        with torch.inference_mode():
            x = images if self.same else images * self.scale + self.shift
            logits: Tensor = self.network(x)
        return logits.clone()  # an inference tensor cannot take part in the student's backward

    def train(self, mode: bool = True) -> Teacher:
        """Stay in eval mode, whatever is asked for."""
        return super().train(False)


class DistillLoss:
    """`weight * T^2 * KL(teacher || student) + (1 - weight) * loss of the labels`.

    Both distributions are softmaxes of logits over T (Hinton et al. 2015, sec. 2); the factor
    keeps the size of its gradients when T changes.

    Args:
        teacher: of the same images, mixed as they are.
        distill: temperature and weight.
        of_labels: loss of images, logits and targets.
    """

    def __init__(
        self,
        teacher: nn.Module,
        distill: Distill,
        of_labels: Callable[[Tensor, Tensor, Tensor], Tensor],
    ) -> None:
        self.teacher = teacher
        self.distill = distill
        self.of_labels = of_labels

    def __call__(self, images: Tensor, logits: Tensor, targets: Tensor) -> Tensor:
        """Loss of a batch: images (B, C, H, W), logits (B, classes), targets as `of_labels`."""
        weight, temperature = self.distill.weight, self.distill.temperature
        soft = soft_target_loss(logits, self.teacher(images), temperature)
        return weight * soft + (1 - weight) * self.of_labels(images, logits, targets)


def soft_target_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """`T^2 * KL(softmax(teacher / T) || softmax(student / T))`, the mean over the batch.

    Args:
        student: logits (B, classes).
        teacher: likewise.
        temperature: T.
    """
    ours, theirs = (
        F.log_softmax((x if x.dtype in _WIDE else x.float()) / temperature, dim=1)
        for x in (student, teacher)
    )
    divergence = F.kl_div(ours, theirs, reduction="batchmean", log_target=True)
    return divergence * temperature**2


def load_teacher(
    spec: str,
    arch: Architecture,
    classes: Sequence[str],
    norm: Norm,
    device: torch.device,
) -> nn.Module:
    """Load a teacher.

    Args:
        spec: `timm:NAME`, whose published weights timm downloads where it has not yet, or weights
            of ours with a card.
        arch: of the student.
        classes: of the data.
        norm: what images are normalised by.
        device: where to.

    Raises:
        TrainingError: the teacher cannot be had, or does not fit the student's classes or images.
        StoreError: the weights cannot be read.
        MeasurementError: timm is not installed.
    """
    channels = arch.in_channels
    if spec.startswith(_TIMM):
        model, theirs, model_channels = _load_timm(spec, arch.image_size)
    else:
        model, theirs, model_channels = _load_ours(spec, classes)
    if model_channels != channels:
        raise TrainingError(
            f"--teacher {spec}: must take images of {channels} channels (got "
            f"{model_channels}). Choose another."
        )
    teacher = Teacher(model, *(_adapt_norm(n, channels) for n in (theirs, norm))).to(device)
    _try_teacher(teacher, spec, arch, len(classes), device)
    return teacher


def _load_timm(spec: str, size: int) -> tuple[nn.Module, Norm, int]:
    """A network of timm's with its published weights, its normalisation and channels."""
    library, name = import_timm(), spec.removeprefix(_TIMM)
    if not library.is_model(name):
        raise TrainingError(
            f"--teacher {spec}: no timm model has that name (got {name!r}). "
            f"{suggest_timm_name(name, library.list_models())}"
        )
    try:
        with torch.random.fork_rng(devices=[]):
            config = library.get_pretrained_cfg(name)
            fixed = config is not None and config.fixed_input_size and config.input_size[-1] != size
            options = {"img_size": size} if fixed else {}
            model: nn.Module = library.create_model(name, pretrained=True, **options)
    except Exception as error:  # timm, its hub and the network each raise their own
        raise TrainingError(
            f"--teacher {spec}: its weights must be had, here or from the net (got "
            f"{one_line(error)}). Go online once, or name weights on disk."
        ) from error
    norm: Any = model.pretrained_cfg
    return model, (norm["mean"], norm["std"]), int(norm["input_size"][0])


def _load_ours(spec: str, classes: Sequence[str]) -> tuple[nn.Module, Norm, int]:
    """A network of ours, its normalisation and channels."""
    loaded = read_weights(Path(spec))
    card = loaded.card
    if card is None:
        raise TrainingError(
            f"--teacher {spec}: must say which network it is (got weights without a card). Name a "
            "checkpoint of `smt-nas train`, or timm:NAME."
        )
    return (
        build_network(reorder_head(loaded, classes)),
        (card.mean, card.std),
        card.arch.in_channels,
    )


def _adapt_norm(norm: Norm, channels: int) -> Norm:
    """For grey images the mean over the colours stands for all of them."""
    mean, std = (tuple(v) for v in norm)
    if len(mean) == channels:
        return mean, std
    return (sum(mean) / len(mean),) * channels, (sum(std) / len(std),) * channels


def _try_teacher(
    teacher: nn.Module, spec: str, arch: Architecture, classes: int, device: torch.device
) -> None:
    """Try it on an image of the student's."""
    size = arch.image_size
    try:
        logits = teacher(torch.zeros(1, arch.in_channels, size, size, device=device))
    except Exception as error:  # the network's own code may raise anything
        raise TrainingError(
            f"--teacher {spec}: must take images of {size} px (got {one_line(error)}). Choose one "
            "that does, or --set image_size=…."
        ) from error
    if tuple(logits.shape) != (1, classes):
        raise TrainingError(
            f"--teacher {spec}: must have the classes of the data (got {logits.shape[-1]} for "
            f"{classes}). Choose one that was trained on them."
        )
