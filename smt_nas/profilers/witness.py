"""One network before all witnesses: built, counted by each, run once."""

from __future__ import annotations

from typing import Any

from smt_nas import costs
from smt_nas.arch import Architecture
from smt_nas.profilers.counters import count, runs_finite


def witnessed(arch: Architecture) -> dict[str, Any]:
    """What the witnesses say, as plain values.

    Returns: `witnesses`, MACs by counter, and `reason`: None, or why the network is disproved: it
    cannot be built or run, its logits are not finite, or torch counts other MACs than the formula.
    """
    try:
        witnesses = {name: c.macs for name, c in count(arch).items()}
        finite = runs_finite(arch)
    except Exception as error:  # a network that cannot run is a finding, not our crash
        return {"witnesses": {}, "reason": f"{type(error).__name__}: {error}"}
    reason, formula = None, costs.of(arch).macs
    if not finite:
        reason = "its logits are not finite"
    elif witnesses["torch"] != formula:
        reason = f"torch counts {witnesses['torch']} MACs, the formula {formula}"
    return {"witnesses": witnesses, "reason": reason}
