"""`load_backbone`: weights of a classifier or of a whole detector, strictly into a backbone.

The published converter loads loosely, and so leaves the convolution of every attention block at its
random start: its two codes name it differently. Here every tensor of the backbone must be there and
nothing may be left over, but for what has no place in a backbone, and that is told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from smt_nas.errors import ConfigError, list_names
from smt_nas.models import SMT, load_official
from smt_nas.models.official_weights import OFFICIAL_ANCHOR
from smt_nas.models.smt import OWN_ANCHOR
from smt_nas.models.weight_sets import WeightSet, find_weight_sets, match_weight_sets

_CLASSIFIER = "head."


@dataclass(frozen=True)
class BackboneWeights:
    """What was taken of a file, and what was not.

    Attributes:
        label: where the backbone's weights stand in it; empty for the file itself.
        names: `ours` or `published`.
        taken: tensors of the backbone; all of it.
        left: tensors that were passed over, by the first word of their names.
    """

    label: str
    names: str
    taken: int
    left: Mapping[str, int]

    def describe(self) -> str:
        """In a line."""
        where = f" under {self.label}" if self.label else ""
        text = f"all {self.taken} tensors of the backbone are taken{where}, by {self.names} names"
        rest = ", ".join(f"{count} of {name}" for name, count in self.left.items())
        return f"{text}; left: {rest}." if rest else f"{text}."


def load_backbone(body: SMT, content: Mapping[Any, Any], where: str) -> BackboneWeights:
    """Load a backbone from what was saved of a classifier, a detector or a segmenter.

    Args:
        body: gets the weights; left as it was on an error.
        content: as `torch.load` gives it, of ours or of the published code, under any keys.
        where: what it is, for errors.

    Returns: what was taken.

    Raises:
        ConfigError: it holds none or several networks, or a tensor is missing, is not known or has
            another shape.
    """
    weights = _choose_set(content, where)
    tensors = dict(weights.tensors)
    head = [name for name in tensors if name.startswith(_CLASSIFIER)]
    own = {name: value for name, value in tensors.items() if name not in head}
    if OWN_ANCHOR in own:
        _check_own(body, own, where)
        body.load_state_dict(own)
    else:
        try:
            load_official(body, own)
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from error
    left = Counter(_name_group(name) for name in [*head, *weights.outside])
    names = "our" if OWN_ANCHOR in own else "published"
    return BackboneWeights(weights.label, names, len(own), left)


def _choose_set(content: Mapping[Any, Any], where: str) -> WeightSet:
    sets = match_weight_sets(find_weight_sets(content, [OWN_ANCHOR, OFFICIAL_ANCHOR]), None)
    if len(sets) == 1:
        return sets[0]
    labels = list_names([s.label or "the file itself" for s in sets]) if sets else "none"
    raise ConfigError(
        f"{where}: must hold the weights of one SMT (got {labels}). Name a checkpoint of a "
        "classifier, a detector or a segmenter with an SMT in it."
    )


def _check_own(body: SMT, given: Mapping[str, Any], where: str) -> None:
    own = body.state_dict()
    missing = [name for name in own if name not in given]
    unknown = [name for name in given if name not in own]
    misshapen = [
        name
        for name, value in own.items()
        if name in given and _shape_of(given[name]) != tuple(value.shape)
    ]
    kinds = {"missing": missing, "not known": unknown, "of another shape": misshapen}
    problems = [f"{len(k)} {kind}: {list_names(k, 4)}" for kind, k in kinds.items() if k]
    if problems:
        raise ConfigError(
            f"{where}: must hold the weights of this backbone, {body.arch.key} (got "
            f"{'; '.join(problems)}). Name weights of this network."
        )


def _shape_of(value: Any) -> tuple[int, ...] | None:
    return tuple(value.shape) if isinstance(value, Tensor) else None


def _name_group(name: str) -> str:
    """`neck` of `neck.fpn_convs.0.weight`."""
    return name.partition(".")[0]
