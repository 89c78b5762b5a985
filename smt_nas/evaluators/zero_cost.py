"""Training-free scores: synflow, SNIP and gradient norm of freshly initialised networks.

A proxy, never an accuracy. Each measure is the sum over all weights w of

- `synflow`: |w dR/dw|, R the summed logits of an all-ones image under |w| (Tanaka et al. 2020)
- `snip`: |w dL/dw|, L the cross entropy on noise images with random labels (Lee et al. 2019)
- `grad_norm`: sqrt(sum (dL/dw)^2) of the same L (Abdelfattah et al. 2021)

None of them, nor their mean, beats #params at equal MACs: on the 200 networks of SMT-Bench-mini
their Kendall tau to trained accuracy, overall / among pairs within 10 % of MACs, is .49/.37,
.52/.42 and .33/.31, and .47/.38 for the mean, beside .55/.37 for #params; no difference is clear of
0 (`smt-nas validate zero-cost` prints it anew). NASWOT and Zen, made for ReLU and
BatchNorm, are left out: on 35 micro SMTs they pointed the wrong way (-.16, -.48).

The score is the mean of the standardised logarithms. Mean and spread come from a shipped sample of
the space's first edition (`reference/*.csv`), so that it is a fixed function of one network: it
does not depend on the run's seed nor on which other networks were seen.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from smt_nas.arch import Architecture
from smt_nas.evaluators.base import Evaluation, call_guarded, read_figures
from smt_nas.evaluators.evaluator_fingerprint import fingerprint_of_values
from smt_nas.evaluators.evidence import ProxyEvidence
from smt_nas.evaluators.published_agreement import bench_agreement, rank_agreement
from smt_nas.files import shipped
from smt_nas.metrics import METRICS
from smt_nas.models.smt import SMT, build, initial_values

MEASURES = ("synflow", "snip", "grad_norm")
INITIALISATIONS = 3  # each with another image
BATCH = 1
IMAGE_SIZE = {4: 48, 2: 32}  # by stem stride: small, yet 2x2 tokens are left in the last stage
REFERENCE = {4: "smt", 2: "smt_micro"}  # by stem stride: the sample that standardises
_REVISION = 1  # raised by hand with every change of a measure
_POOL = 1 << 22  # random numbers drawn once; weights are slices of them
_REFERENCE_FOLDER = shipped("reference")


class ZeroCostEvaluator:
    """Evaluates networks by training-free scores."""

    name = "zero-cost"
    objective = METRICS["score"]
    judged_components = MEASURES

    @property
    def fingerprint(self) -> str:
        """Of the sample that standardises, and of how the measures are taken: they take seconds."""
        return _fingerprint(self.name)

    @property
    def evidence(self) -> ProxyEvidence:
        """How the score and its measures agreed with trained accuracy."""
        names = (self.name, *MEASURES)
        weak = [n for n in names if (a := rank_agreement(n)) and not a.beats_params]
        return ProxyEvidence(
            evaluator=self.name,
            agreement=bench_agreement(self.name),
            no_better_than_params=tuple(weak),
        )

    def evaluate(self, archs: Sequence[Architecture]) -> list[Evaluation]:
        """Score each network; one that fails, or whose score is not finite, says why."""
        return [call_guarded(partial(_evaluate, arch), "proxy") for arch in archs]


def _evaluate(arch: Architecture) -> Evaluation:
    return read_figures(score(arch), ZeroCostEvaluator.objective, "proxy")


@cache
def _fingerprint(name: str) -> str:
    values = {
        "revision": _REVISION,
        "measures": MEASURES,
        "initialisations": INITIALISATIONS,
        "batch": BATCH,
        "image_size": {str(stride): size for stride, size in IMAGE_SIZE.items()},
        "sample": {
            str(stride): [column.round(8).tolist() for column in reference(space)]
            for stride, space in REFERENCE.items()
        },
    }
    return fingerprint_of_values(name, values)


def score(arch: Architecture) -> dict[str, float]:
    """The aggregate `score` and the logarithms of its measures. Pure in `arch`.

    Raises:
        ValueError: a measure is not a positive finite number.
    """
    logs = measure(arch)
    mean, spread = reference(REFERENCE[arch.stem.stride])
    standard = (np.array([logs[m] for m in MEASURES]) - mean) / spread
    return {"score": float(standard.mean()), **logs}


def measure(arch: Architecture) -> dict[str, float]:
    """Mean logarithm of each measure over the initialisations, on one CPU thread."""
    model = build(arch.model_copy(update={"drop_path": 0.0}), device="meta").to_empty(device="cpu")
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = 0.0  # batch statistics are used, the running ones stay
    with _one_thread():
        logs = [_measure_once(model, arch, seed) for seed in range(INITIALISATIONS)]
    return {m: math.fsum(log[m] for log in logs) / len(logs) for m in MEASURES}


def _measure_once(model: SMT, arch: Architecture, seed: int) -> dict[str, float]:
    _fill(model, seed)
    size = IMAGE_SIZE[arch.stem.stride]
    noise = torch.Generator().manual_seed(seed)
    images = torch.randn(BATCH, arch.in_channels, size, size, generator=noise)
    labels = torch.randint(arch.num_classes, (BATCH,), generator=noise)
    model.train()
    snip, square = _backward(model, F.cross_entropy(_logits(model, images), labels))
    with torch.no_grad():
        for weight in model.parameters():
            weight.abs_()
    model.eval()
    synflow, _ = _backward(model, _logits(model, torch.ones_like(images[:1])).sum())
    values = {"synflow": synflow, "snip": snip, "grad_norm": math.sqrt(square)}
    for name, value in values.items():
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name} must be positive and finite (got {value})")
    return {name: math.log(value) for name, value in values.items()}


def _logits(model: SMT, images: Tensor) -> Tensor:
    logits = model(images)
    assert isinstance(logits, Tensor)
    return logits


def _backward(model: SMT, loss: Tensor) -> tuple[float, float]:
    """Sum of |w g| and of g^2 over all weights, g = d loss / d w.

    Each gradient is consumed where it is made, while it is in the cache, and never stored.
    """
    saliency, square = [], []

    def consume(weight: Tensor) -> None:
        assert weight.grad is not None
        grad, weight.grad = weight.grad.flatten(), None
        square.append(float(torch.vdot(grad, grad)))
        saliency.append(float(grad.mul_(weight.detach().flatten()).abs_().sum()))

    register = Tensor.register_post_accumulate_grad_hook  # untyped in torch
    hooks = [register(w, consume) for w in model.parameters()]  # type: ignore[no-untyped-call]
    try:
        torch.autograd.backward(loss)
    finally:
        for hook in hooks:
            hook.remove()
    return math.fsum(saliency), math.fsum(square)


def _fill(model: SMT, seed: int) -> None:
    """Initialise as `SMT.init_weights` does, with slices of a fixed pool of normal numbers.

    Ten million fresh normal numbers cost as much as the measures themselves.
    """
    pool, at = _normal_pool(seed), 0

    def fill(module: nn.Module) -> None:
        nonlocal at
        for tensor, mean, std in initial_values(module):
            if not std:
                tensor.fill_(mean)
                continue
            flat = tensor.view(-1)
            for first in range(0, len(flat), _POOL):
                part = flat[first : first + _POOL]
                at = at if at + len(part) <= _POOL else 0
                torch.mul(pool[at : at + len(part)], std, out=part)
                at += len(part)

    with torch.no_grad():
        model.apply(fill)


@cache
def _normal_pool(seed: int) -> Tensor:
    return torch.randn(_POOL, generator=torch.Generator().manual_seed(seed))


@cache
def reference(name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and spread of the log measures over the shipped sample of a space; each (3,)."""
    with (_REFERENCE_FOLDER / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        rows = [[float(row[m]) for m in MEASURES] for row in csv.DictReader(file)]
    sample = np.array(rows)
    return sample.mean(axis=0), sample.std(axis=0, ddof=1)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums over several threads differ in the last digits; a score must not."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
