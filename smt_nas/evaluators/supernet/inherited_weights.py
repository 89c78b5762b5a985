"""Weights that a network inherits from a supernet: as a network, and as a file that others read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from smt_nas.arch import Architecture
from smt_nas.errors import ConfigError
from smt_nas.evaluators.configs import SUPERNET_PREFIX
from smt_nas.evaluators.supernet.supernet_evaluator import open_supernet
from smt_nas.evaluators.supernet.trained_supernet import Supernet
from smt_nas.files import make_folder
from smt_nas.models import SMT
from smt_nas.train.weights.card import Card
from smt_nas.train.weights.checkpoint import save_weights
from smt_nas.train.weights.weights import read_weights

FOLDER = "inherited"  # of a supernet: files of networks that were taken out


def take_network(supernet: Supernet, arch: Architecture) -> tuple[SMT, Card]:
    """A network as the supernet rates it, with the supernet's head, on the CPU, and its card.

    Raises:
        ConfigError: the supernet does not hold it, hardly trained one of its choices, or gives it
            weights whose outputs are not finite.
    """
    supernet.check(arch)
    (score,) = supernet.evaluate([arch])
    if not math.isfinite(score.loss):
        raise ConfigError(
            f"supernet {supernet.folder}: outputs must be finite numbers (got others of network "
            f"{arch.key}). Restore its weights, or train it anew."
        )
    return supernet.extract(arch).cpu(), supernet.make_card(arch, score)


@dataclass(frozen=True)
class InheritedFile:
    """Weights of a network that were written.

    Attributes:
        file: where they are.
        card: what they say of themselves.
        tensors: how many.
    """

    file: Path
    card: Card
    tensors: int


def write_inherited_weights(
    arch: Architecture, spec: str, device: str | None = None
) -> InheritedFile:
    """Write the weights of a network beside its supernet: RUN/inherited/KEY-DIGEST.safetensors.

    Args:
        arch: the network.
        spec: `supernet:RUN`.
        device: where batch norms are calibrated.

    Returns: what was written; the same network of the same supernet has the same file.

    Raises:
        ConfigError: as `take_network`, or no folder is named.
        StoreError: there is no finished supernet, or its folder cannot be written.
    """
    run = spec.removeprefix(SUPERNET_PREFIX)
    if not run:
        raise ConfigError(
            f"{spec}: must name its folder (got none). E.g. {SUPERNET_PREFIX}runs/supernet."
        )
    supernet = open_supernet(run, device)
    supernet.check(arch)
    folder = supernet.folder / FOLDER
    make_folder(folder, "Let its owner take the network out, with smt-nas export --weights.")
    file = folder / f"{supernet.spec.adapt(arch).key}-{supernet.digest}.safetensors"
    with FileLock(folder.with_suffix(".lock")):  # trainings of one front may begin at once
        if not file.is_file():
            network, card = take_network(supernet, arch)
            save_weights(file, card, network.state_dict())
    written = read_weights(file)
    assert written.card is not None  # `take_network` gave it one
    return InheritedFile(file, written.card, len(written.state))
