"""`Efficiency`: the shares of its peaks that hardware reaches, as fitted to measurements.

`profiles/efficiency.json` holds one set for GPUs and one for CPUs, with what each was fitted on.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from smt_nas.conditions import Mode
from smt_nas.devices.sheet import Kind
from smt_nas.errors import ConfigError
from smt_nas.files import folders
from smt_nas.yaml import validated

FILE = "efficiency.json"


class Efficiency(BaseModel):
    """Coefficients of the roofline for one kind of device.

    Attributes:
        coefficients: by name, as `devices.roofline` uses them.
        provenance: what they were fitted on.
        typical: truth over roofline of a typical device, by mode.
        factors: truth over roofline by device and mode, from public measurements of that device.
        intervals: log of truth over prediction that bounds the interval, by mode, for devices with
            no factor of their own: residuals of devices left out of the fit.
        own_intervals: the same for devices with a factor.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    coefficients: Mapping[str, float]
    provenance: str
    typical: Mapping[Mode, float]
    factors: Mapping[str, Mapping[Mode, float]]
    intervals: Mapping[Mode, tuple[float, float]]
    own_intervals: Mapping[Mode, tuple[float, float]]

    def factor(self, device: str, mode: Mode) -> float | None:
        """The device's own factor; a captured graph runs the kernels of eager mode."""
        own = self.factors.get(device, {})
        return own.get("eager" if mode == "graph" else mode)


class EfficiencyFile(BaseModel):
    """The file: a set for each kind of device."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gpu: Efficiency
    cpu: Efficiency


@functools.cache
def load_efficiency(kind: Kind) -> Efficiency:
    """The shipped coefficients.

    Raises:
        ConfigError: the file is missing or broken.
    """
    path = next((f / FILE for f in folders("profiles") if (f / FILE).is_file()), None)
    if path is None:
        raise ConfigError(f"profiles/{FILE}: must be there (got none). Install smt-nas again.")
    file = validated(EfficiencyFile, _json(path), str(path))
    return file.gpu if kind == "gpu" else file.cpu


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path}: is not JSON ({error}). Install smt-nas again.") from error
