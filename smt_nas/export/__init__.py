"""Hand a network over: EXPORTERS turn an `Architecture` into the text of a config."""

from __future__ import annotations

from collections.abc import Callable

from smt_nas.arch import Architecture
from smt_nas.errors import UnknownName
from smt_nas.export.official import official_yaml

EXPORTERS: dict[str, Callable[[Architecture, str], str]] = {
    "yaml": lambda arch, name: arch.to_yaml(),
    "official": official_yaml,
}

__all__ = ["EXPORTERS", "exported", "official_yaml"]


def exported(arch: Architecture, format_name: str, name: str) -> str:
    """The config of a network in a format.

    Args:
        arch: the network.
        format_name: of EXPORTERS.
        name: what the network is called, where the format has a place for it.

    Raises:
        UnknownName: no such format.
        ExportError: the format cannot express the network; says why.
    """
    if format_name not in EXPORTERS:
        raise UnknownName("export format", format_name, EXPORTERS)
    return EXPORTERS[format_name](arch, name)
