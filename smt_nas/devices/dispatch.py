"""How long a host takes to dispatch the operators of a network to a GPU, by class of host.

    host time = sum over operators of (their time alone, by kind) x relative x in_network

The times by kind were measured on one machine, the reference; a class of hosts (`profiles/
hosts.yaml`) says how much slower or faster its machines are, and how unsure that is.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from smt_nas.conditions import Mode
from smt_nas.devices.gpu_kernels import KINDS, PRODUCTS, Floats, Kernels
from smt_nas.errors import ConfigError, did_you_mean
from smt_nas.files import folders
from smt_nas.yaml import read_yaml, validated

FILE = "hosts.yaml"
UNKNOWN = "unknown"
_PRODUCT = np.array([kind in PRODUCTS for kind in KINDS])
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Reference(_Value):
    """The machine whose times the classes are relative to.

    Attributes:
        name: of the machine.
        operator_us: microseconds to submit one operator, by kind, in eager mode.
        compiled_us: the same of a kernel that a compiler generated; products stay operators.
        graph_us: the same of a kernel of a captured graph.
        in_network: time of a network's operators over the sum of the times alone.
        spread: how far off, in log, 80 % of its own networks were at most.
        sources: of each figure.
    """

    name: str
    operator_us: Mapping[str, _Positive]
    compiled_us: _Positive
    graph_us: _Positive
    in_network: _Positive
    spread: _Positive
    sources: Mapping[str, str]

    @model_validator(mode="after")
    def _every_kind_is_there(self) -> Self:
        if set(self.operator_us) != set(KINDS):
            raise ValueError(f"operator_us must have each of {', '.join(KINDS)}.")
        return self


class HostClass(_Value):
    """A class of hosts.

    Attributes:
        name: what it is.
        relative: its time for an operator over the reference's.
        spread: how far off, in log, 80 % of its machines are at most.
        source: where `relative` comes from.
    """

    name: str
    relative: _Positive
    spread: _Positive
    source: str


class _HostFile(_Value):
    reference: Reference
    classes: Mapping[str, HostClass]


@dataclass(frozen=True)
class Host:
    """A machine that feeds a GPU.

    Attributes:
        key: of its class.
        host_class: what is known of such machines.
        reference: what its times are relative to.
    """

    key: str
    host_class: HostClass
    reference: Reference

    def submit_ms(self, kernels: Kernels, mode: Mode) -> Floats:
        """Milliseconds to submit each kernel, (n,)."""
        us = np.array([self.reference.operator_us[kind] for kind in KINDS])[kernels.kind]
        if mode == "compile":
            us = np.where(_PRODUCT[kernels.kind], us, self.reference.compiled_us)
        elif mode == "graph":
            us = np.full(len(kernels), self.reference.graph_us)
        return np.asarray(us * (1e-3 * self.host_class.relative * self.reference.in_network))

    @property
    def half_width(self) -> float:
        """Half the interval of its times, in log."""
        return math.hypot(self.host_class.spread, self.reference.spread)


def load_host(key: str | None) -> Host:
    """The host of a class; None is one that is not known.

    Raises:
        ConfigError: no such class, or the file is missing or broken.
    """
    file = _load_file()
    key = key or UNKNOWN
    if key not in file.classes:
        known = f"Known: {', '.join(file.classes)}. {did_you_mean(key, file.classes)}".rstrip()
        raise ConfigError(f"host: must be a class of profiles/{FILE} (got {key!r}). {known}")
    return Host(key, file.classes[key], file.reference)


@functools.cache
def _load_file() -> _HostFile:
    path = next((f / FILE for f in folders("profiles") if (f / FILE).is_file()), None)
    if path is None:
        raise ConfigError(f"profiles/{FILE}: must be there (got none). Install smt-nas again.")
    return validated(_HostFile, read_yaml(path), str(path))
