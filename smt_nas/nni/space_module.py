"""`SMTModelSpace`: a search space as NNI's ModelSpace, whose frozen samples are our networks.

A gene is a Categorical of its options, under its own name: `stage1.dim`. What a sample freezes to
is what `smt_nas.models.build` makes of the same network.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from smt_nas.arch import Architecture
from smt_nas.errors import ConfigError
from smt_nas.models import SMT, build
from smt_nas.runtime.imports import import_nni
from smt_nas.space import SearchSpace, SpaceConfig
from smt_nas.space.sample import Sample, list_options, read_samples

_pytorch = import_nni("nni.nas.nn.pytorch", "smt_nas.nni")
_mutable = import_nni("nni.mutable", "smt_nas.nni")


class SMTModelSpace(_pytorch.ModelSpace):  # type: ignore[misc, name-defined]
    """A search space as NNI's strategies and engines take it. Made by `model_space`.

    Args:
        config: what the YAML of the space says, in plain values, so that NNI can make the space
            again in another process.
        name: of the space.

    Attributes:
        space: the search space.
    """

    def __init__(self, config: Mapping[str, Any], name: str = "custom") -> None:
        super().__init__()
        self.space = _make_space(config, name)
        for gene, options in list_options(self.space).items():
            self.add_mutable(_mutable.Categorical(options, label=gene))

    def to_architecture(self, sample: Sample) -> Architecture:
        """The network of a sample, as a value. Raises SpaceError."""
        return self.space.decode(read_samples(self.space, [sample]))[0]

    def freeze(self, sample: dict[str, Any]) -> SMT:
        """The network of a sample, with fresh weights.

        Raises:
            nni.mutable.SampleValidationError: it is no sample of the space.
        """
        self.validate(sample)
        return build(self.to_architecture(sample))

    @classmethod
    def create_fixed_module(
        cls, sample: dict[str, Any], config: Mapping[str, Any], name: str = "custom"
    ) -> SMT:
        """The same, where NNI makes the network of a sample without the space."""
        space = _make_space(config, name)
        return build(space.decode(read_samples(space, [sample]))[0])

    def forward(self, *_: Any) -> NoReturn:
        """Refuse: a space holds no weights that its networks share. Raises ConfigError."""
        raise ConfigError(
            "smt_nas.nni.model_space: is not a network (got a call). Freeze a sample of it; "
            "one-shot strategies need a supernet, which it is not."
        )

    def extra_repr(self) -> str:
        """Its name and size."""
        return f"{self.space.name}, {self.space.size:.3g} networks"


def model_space(space: SearchSpace | str | Path) -> SMTModelSpace:
    """A search space as NNI's ModelSpace.

    Args:
        space: the space, the name of a shipped one, or the path of a YAML.

    Raises:
        UnknownName: no such shipped space.
        ConfigError: the file cannot be read or breaks a rule.
    """
    if not isinstance(space, SearchSpace):
        space = SearchSpace.load(space)
    return SMTModelSpace(config=space.config.model_dump(mode="json"), name=space.name)


def _make_space(config: Mapping[str, Any], name: str) -> SearchSpace:
    return SearchSpace(SpaceConfig.model_validate(config), name)
