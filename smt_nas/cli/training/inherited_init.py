"""`train --init supernet:RUN`: a training that starts from what its network inherits."""

from __future__ import annotations

import os

from smt_nas.cli import console
from smt_nas.errors import ConfigError, format_count
from smt_nas.evaluators.configs import SUPERNET_PREFIX
from smt_nas.files import shell_word


def inherits(init: str | None) -> bool:
    """Whether weights to start from are those of a supernet."""
    return init is not None and init.startswith(SUPERNET_PREFIX)


class InheritedInit:
    """Takes networks out of one supernet, and says what was taken; what holds for all, once.

    Args:
        init: `supernet:RUN`.
        device: where batch norms are calibrated.
    """

    def __init__(self, init: str, device: str | None) -> None:
        self._init = init
        self._device = device
        self._said: set[str] = set()

    def write(self, arch: str) -> str:
        """Write the weights of a network beside its supernet.

        Args:
            arch: preset or path of a model config.

        Returns: the file, for a training to start from.

        Raises:
            ConfigError: the supernet does not hold the network, or several processes would write.
            StoreError: no finished supernet is there, or its folder cannot be written.
        """
        from smt_nas.arch import load_arch
        from smt_nas.evaluators.supernet.inherited_weights import write_inherited_weights

        if os.environ.get("WORLD_SIZE", "1") != "1":
            raise ConfigError(
                f"--init {self._init}: is for one process (got {os.environ['WORLD_SIZE']}). Take "
                f"the weights out first: smt-nas export {shell_word(arch)} --weights "
                f"{shell_word(self._init)} --format python --out net.py; then --init "
                "net.safetensors."
            )
        taken = write_inherited_weights(load_arch(arch), self._init, self._device)
        card = taken.card
        top1 = "" if card.validation is None else f", top-1 {100 * card.validation['top1']:.2f} %"
        self._say_once(
            f"{taken.file}: {format_count(taken.tensors, 'tensor')} of {card.arch.key}, inherited "
            f"from a supernet of {card.data}{top1} on its held-out images."
        )
        if card.split is not None:
            self._say_once(
                f"It was trained on all images of {card.data} but those that --set "
                f"validation={card.split.fraction!r} --set split_seed={card.split.seed} hold out: "
                "on another validation split of these the figures of a training are too good."
            )
        return str(taken.file)

    def _say_once(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            console.say(line)
