"""Anchors: networks a user measured on a device, which correct what its sheet predicts.

The file is what `smt-nas profile --json` wrote on that device, or a JSON list of

    {"network": "timm:resnet50", "batch": 64, "precision": "amp-fp16", "throughput_ips": 2150}

with `latency_ms` instead of `throughput_ips` where that is known; mode `eager`, precision `fp32`
and batch 1 are the defaults. All predictions of a mode are scaled by the median of measured over
predicted; their spread gives the interval.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from smt_nas.conditions import Conditions, Mode, Precision
from smt_nas.devices.block_table import COVERAGE, Correction
from smt_nas.devices.device import Device
from smt_nas.errors import ConfigError
from smt_nas.profilers.breakdown import trace_operators
from smt_nas.profilers.network_loader import load_network
from smt_nas.yaml import validated

MOST = 64
_FEWEST_SPREAD = 0.05  # of the logs, whatever few anchors say: networks differ
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class Anchor:
    """One network that was measured: its name and what it took, milliseconds a batch."""

    network: str
    conditions: Conditions
    ms: float


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    network: str
    batch: Annotated[int, Field(strict=True, ge=1)] = 1
    precision: Precision = "fp32"
    mode: Mode = "eager"
    channels_last: bool = False
    image_size: int | None = None
    latency_ms: _Positive | None = None
    throughput_ips: _Positive | None = None

    @model_validator(mode="after")
    def _one_figure(self) -> Self:
        if (self.latency_ms is None) == (self.throughput_ips is None):
            raise ValueError("needs latency_ms or throughput_ips, one of the two.")
        return self

    def anchor(self) -> Anchor:
        ms = self.latency_ms or self.batch * 1e3 / (self.throughput_ips or np.nan)
        names = ("batch", "precision", "mode", "channels_last", "image_size")
        conditions = Conditions(**{name: getattr(self, name) for name in names})
        return Anchor(self.network, conditions, ms)


def read_anchors(path: Path) -> list[Anchor]:
    """Read a file of anchors.

    Raises:
        ConfigError: it cannot be read, is neither form, or holds no measured inference.
    """
    where = f"--anchors {path}"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{where}: cannot be read ({error.strerror}). Check the path.") from error
    except (ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"{where}: is not JSON ({reason}).") from error
    if isinstance(content, dict):
        anchors = _read_profile(content, where)
    elif isinstance(content, list):
        lines = [validated(_Line, line, f"{where}[{i}]") for i, line in enumerate(content)]
        anchors = [line.anchor() for line in lines]
    else:
        raise ConfigError(
            f"{where}: must be a list of networks, or a profile (got {content!r:.40})."
        )
    if not 1 <= len(anchors) <= MOST:
        raise ConfigError(f"{where}: must hold 1 to {MOST} measured networks (got {len(anchors)}).")
    return anchors


def _read_profile(document: dict[str, Any], where: str) -> list[Anchor]:
    """The measured inferences of what `profile --json` wrote; predictions are no anchors."""
    try:
        rows = [row for row in document["rows"] if row["measurement"] is not None]
        return [
            Anchor(
                row["network"],
                Conditions(**row["conditions"]),
                float(row["figures"]["latency_ms"]["value"]),
            )
            for row in rows
            if not row["conditions"]["train"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{where}: must be what `smt-nas profile --json` writes (got {type(error).__name__}: "
            f"{error}). Name such a file, or write a list."
        ) from error


def correct_with_anchors(device: Device, anchors: Sequence[Anchor]) -> Device:
    """The device with predictions corrected by networks measured on it, mode by mode.

    Raises:
        ConfigError: an anchor's network is not known.
        MeasurementError: the device cannot run an anchor.
    """
    logs: dict[Mode, list[float]] = defaultdict(list)
    for a in anchors:
        network = load_network(a.network, a.conditions.image_size)
        ops = trace_operators(network, a.conditions)
        latency = device.predict_ops(ops, a.conditions, network.is_smt)
        logs[a.conditions.mode].append(float(np.log(a.ms / latency.ms[0])))
    return replace(device, corrections={mode: _fit_correction(v) for mode, v in logs.items()})


def _fit_correction(logs: Sequence[float]) -> Correction:
    """Median, and the interval of one more network: Student's, with a floor under the spread."""
    from scipy.stats import t

    n, middle = len(logs), float(np.median(logs))
    spread = max(_FEWEST_SPREAD, float(np.std(logs, ddof=1)) if n > 2 else 2 * _FEWEST_SPREAD)
    reach = float(t.ppf((1 + COVERAGE) / 2, max(n - 1, 1))) * spread * np.sqrt(1 + 1 / n)
    return Correction(float(np.exp(middle)), -reach, reach)
