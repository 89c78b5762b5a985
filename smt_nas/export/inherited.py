"""`--weights inherited`: those that a network has in the supernet by which it was rated."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from smt_nas.arch import Architecture
from smt_nas.errors import ConfigError, StoreError
from smt_nas.evaluators.configs import SUPERNET_PREFIX, TrainedSupernet
from smt_nas.files import shell_word

if TYPE_CHECKING:
    from smt_nas.search.run_file import RunFile
    from smt_nas.train.weights.card import Card
    from smt_nas.train.weights.weights import LoadedWeights

INHERITED = "inherited"


@dataclass(frozen=True)
class InheritedWish:
    """Weights of a supernet are asked for.

    Attributes:
        word: as the user wrote it.
        folder: of the supernet; None for the one of the search.
    """

    word: str
    folder: str | None


def read_wish(weights: str | None, supernet: str | None) -> InheritedWish | None:
    """Whether `--weights` are those of a supernet; None of others.

    Raises:
        ConfigError: a supernet is named for other weights, or twice.
    """
    word = weights or (INHERITED if supernet is not None else "")
    if word == INHERITED:
        return InheritedWish(word, supernet)
    if supernet is not None:
        raise ConfigError(
            f"--supernet {supernet}: is for --weights {INHERITED} (got {weights}). Leave one out."
        )
    if not word.startswith(SUPERNET_PREFIX):
        return None
    return InheritedWish(word, word.removeprefix(SUPERNET_PREFIX))


def take_inherited(config: Path, arch: Architecture, wish: InheritedWish) -> LoadedWeights:
    """The weights of a network in a supernet, its batch norms calibrated, with the data's head.

    Args:
        config: of the network; of a search's front where the wish names no supernet.
        arch: the network.
        wish: which supernet.

    Raises:
        ConfigError: the supernet does not hold the network, or hardly trained one of its choices.
        StoreError: there is no such supernet, it is another than the search's, or its data are
            gone.
    """
    from smt_nas.evaluators.supernet.inherited_weights import take_network
    from smt_nas.evaluators.supernet.supernet_evaluator import SupernetEvaluator
    from smt_nas.train.weights.weights import LoadedWeights

    run = None if wish.folder is not None else _read_run(config)
    folder = wish.folder if run is None else _find_named(config, run)
    assert folder is not None
    evaluator = SupernetEvaluator(TrainedSupernet(run=folder, device="cpu"))
    if run is not None and run.evaluator_fingerprint not in (None, evaluator.fingerprint):
        raise StoreError(
            f"supernet {folder}: must be the one that {config.parent.parent} was rated by (got "
            f"another, trained since). Restore it, or take its weights with --supernet "
            f"{shell_word(folder)}."
        )
    network, card = take_network(evaluator.supernet, arch)
    return LoadedWeights(card, dict(network.state_dict()), Path(folder), official=False)


def describe_inherited(card: Card) -> str:
    """What a user must know of such weights."""
    figures = card.validation or {}
    top1 = f", top-1 {100 * figures['top1']:.2f} % on its held-out images" if figures else ""
    return (
        f"The weights are inherited from a supernet of {card.data}{top1}: shared with all other "
        "networks while they were trained. Trained alone it may do better (smt-nas train --init)."
    )


def _read_run(config: Path) -> RunFile:
    """run.yaml of the search whose front a config is of. Raises ConfigError."""
    from smt_nas.search.run_file import RUN_FILE, read_run_file

    run = config.parent.parent
    if config.parent.name != "front" or not (run / RUN_FILE).is_file():
        raise ConfigError(
            f"--weights {INHERITED}: is for a network of a search's front, RUN/front/0.yaml (got "
            f"{config}). Name the supernet: --weights supernet:RUN."
        )
    return read_run_file(run)


def _find_named(config: Path, run: RunFile) -> str:
    """The folder of the supernet that rated a search. Raises ConfigError, StoreError."""
    choice = run.settings.evaluator
    named = None if choice is None else choice.config
    if not isinstance(named, TrainedSupernet):
        raise ConfigError(
            f"--weights {INHERITED}: is for a search rated by a supernet (got "
            f"{config.parent.parent}, rated by {'formulas' if choice is None else choice.word}). "
            "Name the supernet: --weights supernet:RUN."
        )
    if not Path(named.run).is_dir():
        raise StoreError(
            f"supernet {named.run}: must be where {config.parent.parent} was rated by it (got no "
            "such folder). Move it back, or say where it is now with --supernet RUN."
        )
    return named.run
