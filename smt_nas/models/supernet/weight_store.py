"""`WeightStore`: the shared weights of all networks of a space, as one module.

A network runs as the plain `SMT`, called with windows of the store in the place of its parameters,
so what is searched, trained and handed over is computed by one and the same code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from smt_nas.arch import Architecture, Stage, Stem
from smt_nas.costs.parts import Part
from smt_nas.errors import ConfigError
from smt_nas.models.blocks import EMBEDS, Block
from smt_nas.models.smt import SMT, build, build_stages
from smt_nas.models.supernet.supernet_spec import StageMaxima, SupernetSpec
from smt_nas.models.supernet.views import list_windows, scatter, views

_META_NETWORKS = 64  # kept; to build one of smt_micro from nothing takes 14 ms
_META_PARTS = 4096


class WeightStore(nn.Module):
    """The tensors that all networks of a space share.

    It holds no batch norm statistics: those of one network mean nothing for another. `forward`
    takes those of the batch in train mode, and in eval mode the ones it is given.

    Args:
        spec: what it holds.
        generator: of the first weights; torch's global one by default. None of them is drawn for
            `device="meta"`.

    Attributes:
        spec: what it holds.
        tensors: by name. A dot of a name reads `/` there, as torch keeps dots for modules.
    """

    def __init__(
        self,
        spec: SupernetSpec,
        generator: torch.Generator | None = None,
        device: str | torch.device | None = None,
    ) -> None:
        super().__init__()
        self.spec = spec
        corners = list_corners(spec)
        is_meta = device is not None and torch.device(device).type == "meta"
        tensors = {
            name: torch.zeros(shape, device="meta" if is_meta else "cpu")
            for name, shape in _find_shapes(spec, corners).items()
        }
        for corner in [] if is_meta else corners:
            state = build(corner, generator=generator).state_dict()
            scatter(tensors, corner, state, spec.share_ffn)
        self.tensors = nn.ParameterDict(
            {_to_key(name): nn.Parameter(t) for name, t in tensors.items() if _is_held(name, spec)}
        )
        if device is not None:
            self.to(device)

    def named_tensors(self) -> dict[str, nn.Parameter]:
        """The stored tensors, by name."""
        return {key.replace("/", "."): tensor for key, tensor in self.tensors.items()}

    def forward(
        self, arch: Architecture, x: Tensor, statistics: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """Run a network on images (B, channels, H, W): logits (B, classes).

        In train mode a network with a drop path draws it from torch's global generator, and
        batches are normalised by their own statistics.

        Args:
            arch: the network.
            x: the images.
            statistics: of its batch norms, by their plain names, for eval mode; None for mean 0
                and variance 1. In train mode they are updated in place, as torch does.

        Raises:
            ConfigError: the store does not hold the network.
        """
        network = self._find_meta_network(arch)
        network.train(self.training)
        given = make_statistics(network, x.device, x.dtype) if statistics is None else statistics
        parameters = views(self.named_tensors(), arch, self.spec.share_ffn)
        logits: Tensor = functional_call(network, (parameters, dict(given)), (x,), strict=True)
        return logits

    def extract(self, arch: Architecture, statistics: Mapping[str, Tensor] | None = None) -> SMT:
        """The plain network with tensors of its own, in the store's mode.

        Args:
            arch: the network.
            statistics: of its batch norms, by their plain names; None for mean 0 and variance 1.

        Raises:
            ConfigError: the store does not hold the network.
        """
        self.spec.check(arch)
        with torch.device("meta"):
            network = SMT(arch)
        tensor = next(iter(self.tensors.values()))
        given = statistics or make_statistics(network, tensor.device, tensor.dtype)
        parameters = views(self.named_tensors(), arch, self.spec.share_ffn)
        state = {name: value.detach().clone() for name, value in (parameters | dict(given)).items()}
        network.load_state_dict(state, assign=True)
        for parameter in network.parameters():
            parameter.requires_grad_(True)
        return network.train(self.training)

    def inject(self, arch: Architecture, state: Mapping[str, Tensor]) -> None:
        """Put the weights of a network into the store; statistics of batch norms are left out.

        Args:
            arch: the network.
            state: its state, by plain names.

        Raises:
            ConfigError: the store does not hold the network, or the state is not of it.
        """
        wanted = dict(self._find_meta_network(arch).named_parameters())
        for name, parameter in wanted.items():
            value = state.get(name)
            if value is None or value.shape != parameter.shape:
                got = "none" if value is None else tuple(value.shape)
                raise ConfigError(
                    f"supernet: weights must have {name} of shape {tuple(parameter.shape)} (got "
                    f"{got}). Take the weights of this very network."
                )
        scatter(self.named_tensors(), arch, state, self.spec.share_ffn)

    def detach_tensors(self) -> dict[str, Tensor]:
        """Its tensors by name, without gradients, for a file; `load_tensors` takes them."""
        return {name: tensor.detach() for name, tensor in self.named_tensors().items()}

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take these tensors, by name. Raises ConfigError: one is missing or of another shape."""
        for name, parameter in self.named_tensors().items():
            value = tensors.get(name)
            if value is None or value.shape != parameter.shape:
                got = "none" if value is None else tuple(value.shape)
                raise ConfigError(
                    f"supernet: must hold {name} of shape {tuple(parameter.shape)} (got {got}). "
                    "Restore the file from a copy."
                )
            if parameter.is_meta:
                self.tensors[_to_key(name)] = nn.Parameter(value)
            else:
                with torch.no_grad():
                    parameter.copy_(value)

    def _find_meta_network(self, arch: Architecture) -> SMT:
        self.spec.check(arch)
        return _build_meta_network(arch)


@lru_cache(_META_NETWORKS)
def _build_meta_network(arch: Architecture) -> SMT:
    """A network without memory, which is only ever called with tensors in the place of its own.

    Networks share blocks of the same place, so no two of them may run at the same time.
    """
    with torch.device("meta"):
        return SMT(arch, stages=build_stages(arch, _build_meta_embed, _build_meta_block))


@lru_cache(_META_PARTS)
def _build_meta_embed(stage: int, part: Part) -> nn.Module:
    return EMBEDS[part.kind](part)


@lru_cache(_META_PARTS)
def _build_meta_block(
    place: tuple[int, int], mixer: Part, ffn: Part, layer_scale: float | None, drop_path: float
) -> Block:
    """Of one place: in a network each block is another module."""
    return Block(mixer, ffn, layer_scale, drop_path)


def make_statistics(network: SMT, device: torch.device, dtype: torch.dtype) -> dict[str, Tensor]:
    """What the batch norms of a network hold before any batch, by plain names."""
    statistics: dict[str, Tensor] = {}
    for name, module in network.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            n = module.num_features
            statistics[f"{name}.running_mean"] = torch.zeros(n, device=device, dtype=dtype)
            statistics[f"{name}.running_var"] = torch.ones(n, device=device, dtype=dtype)
            statistics[f"{name}.num_batches_tracked"] = torch.zeros(
                (), dtype=torch.int64, device=device
            )
    return statistics


def list_corners(spec: SupernetSpec) -> list[Architecture]:
    """Networks as large as can be, that together hold every stored tensor in full.

    They need not be of the space. Corner n has the n-th kernel set of each stage and the n-th
    kernel of the stem and the FFNs, and blocks of one kind; where a stage has fewer, the last.
    """
    options = [spec.stem_kernels, *(s.kernels for s in spec.stages)]
    options += [s.ffn_kernels for s in spec.stages]
    corners = []
    for n in range(max(map(len, options))):
        for kind in range(max(len(stage.mixers) for stage in spec.stages)):
            s1, s2, s3, s4 = (_make_corner_stage(stage, n, kind) for stage in spec.stages)
            corners.append(
                Architecture(
                    image_size=spec.image_size,
                    num_classes=spec.num_classes,
                    in_channels=spec.in_channels,
                    stem=Stem(kernel=_nth(spec.stem_kernels, n), stride=spec.stem_stride),
                    stages=(s1, s2, s3, s4),
                    layer_scale=spec.layer_scale,
                )
            )
    return list(dict.fromkeys(corners))


def _make_corner_stage(most: StageMaxima, n: int, kind: int) -> Stage:
    is_msa = _nth(most.mixers, kind) == "msa"
    # half a channel more, as the hidden width is rounded down
    values: dict[str, Any] = {
        "dim": most.dim,
        "depth": most.depth,
        "mlp_ratio": (most.hidden + 0.5) / most.dim,
        "attention_ratio": float(is_msa),
        "ffn_kernel": _nth(most.ffn_kernels, n),
    }
    if is_msa:
        return Stage(**values, head_dim=most.dim)
    return Stage(**values, kernels=_nth(most.kernels, n), expand_ratio=most.expand_ratio)


def _nth(options: tuple[Any, ...], n: int) -> Any:
    return options[min(n, len(options) - 1)]


def _find_shapes(spec: SupernetSpec, corners: list[Architecture]) -> dict[str, tuple[int, ...]]:
    """Of each stored tensor: as large as the corners' windows."""
    shapes: dict[str, tuple[int, ...]] = {}
    for corner in corners:
        for windows in list_windows(corner, spec.share_ffn).values():
            for window in windows:
                known = shapes.get(window.name, window.extent)
                shapes[window.name] = tuple(map(max, known, window.extent))
    return shapes


def _is_held(name: str, spec: SupernetSpec) -> bool:
    """Whether a network of the space takes it: corners have blocks of every kind everywhere."""
    match = re.match(r"stages\.(\d+)\.blocks\.(\d+)\.(sam|msa)\.", name)
    return match is None or match[3] in spec.stages[int(match[1])].slots[int(match[2])]


def _to_key(name: str) -> str:
    return name.replace(".", "/")
