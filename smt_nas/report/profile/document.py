"""A profile as a JSON document (schema 2) and as CSV, and a saved document read back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from smt_nas import costs
from smt_nas.errors import ConfigError
from smt_nas.profilers.breakdown import Breakdown
from smt_nas.profilers.latency.measurement import Measurement
from smt_nas.profilers.profile import Profile, ProfileRow
from smt_nas.report.profile.costs import NetworkCounts

SCHEMA = 2
MAX_BYTES = 200_000_000


def document(
    profile: Profile,
    counted: Sequence[NetworkCounts],
    breakdowns: Sequence[Breakdown],
    environment: Mapping[str, Any],
) -> dict[str, Any]:
    """Everything a profile knows, raw samples and all, as plain JSON values."""
    sheet = profile.device.sheet
    return {
        "schema": SCHEMA,
        "kind": "profile",
        "environment": dict(environment),
        "device": {"key": sheet.key, "name": sheet.name, "where": profile.where},
        "interrupted": profile.interrupted,
        "networks": [_network_document(c) for c in counted],
        "rows": [_row_document(r) for r in profile.rows],
        "comparisons": [
            {
                "base": c.base,
                "other": c.other,
                "conditions": c.conditions.model_dump(mode="json"),
                **asdict(c.verdict),
            }
            for c in profile.comparisons
        ],
        "sweeps": [
            {
                "network": s.network,
                "conditions": s.conditions.model_dump(mode="json"),
                "knee": s.knee,
                "largest": s.largest,
                "largest_reason": s.largest_reason,
            }
            for s in profile.sweeps
        ],
        "breakdowns": [
            asdict(b) | {"conditions": b.conditions.model_dump(mode="json")} for b in breakdowns
        ],
    }


def _network_document(c: NetworkCounts) -> dict[str, Any]:
    arch = c.network.arch
    whole = None if arch is None else costs.of(arch).as_dict()
    return {
        "name": c.network.name,
        "key": None if arch is None else arch.key,
        "architecture": None if arch is None else arch.model_dump(mode="json"),
        "image_size": c.network.image_size,
        "params": c.params,
        "values": whole,
        "provenance": None if whole is None else dict.fromkeys(whole, "exact"),
        "parts": [asdict(p) for p in c.parts],
        "counters": {name: asdict(count) for name, count in c.counts.items()},
    }


def _row_document(row: ProfileRow) -> dict[str, Any]:
    return {
        "network": row.network,
        "conditions": row.conditions.model_dump(mode="json"),
        "figures": {name: f.to_dict() for name, f in row.readings.items()},
        "predicted": None if row.predicted is None else row.predicted.to_dict(),
        "measurement": None if row.measurement is None else row.measurement.to_dict(),
        "failure": row.failure,
        "runtime": row.runtime,
    }


def as_csv(profile: Profile) -> str:
    """One line a row, as `Profile.frame`; empty where nothing is known."""
    return str(profile.frame().to_csv(index=False, lineterminator="\n"))


@dataclass(frozen=True)
class Saved:
    """The measurements of a saved document, by conditions and network."""

    path: str
    device: str
    environment: dict[str, Any]
    measurements: tuple[Measurement, ...]


def read(path: Path) -> Saved:
    """Read what `smt-nas profile --json` wrote.

    Raises:
        ConfigError: the file cannot be read, is no profile, is of another schema, or holds no
            measurement.
    """
    saved = _read_json(path)
    if not isinstance(saved, dict) or saved.get("kind") != "profile":
        raise ConfigError(
            f"{path}: must be what `smt-nas profile --json` writes. Name such a file."
        )
    if saved.get("schema") != SCHEMA:
        raise ConfigError(
            f"{path}: schema must be {SCHEMA} (got {saved.get('schema')!r}). Profile again with "
            "this version."
        )
    try:
        rows = [row["measurement"] for row in saved["rows"] if row["measurement"] is not None]
        measurements = tuple(Measurement.from_dict(row) for row in rows)
        device, environment = str(saved["device"]["name"]), dict(saved["environment"])
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{path}: is damaged ({type(error).__name__}: {error}).") from error
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    if not measurements:
        raise ConfigError(
            f"{path}: holds no measurement, and predictions are not compared. Profile on the "
            "device itself."
        )
    return Saved(str(path), device, environment, measurements)


def _read_json(path: Path) -> Any:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{path}: is too large to be a profile (over 200 MB).")
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}). Check the path.") from error
    except (ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"{path}: is not JSON ({reason}). Name a file of --json.") from error
