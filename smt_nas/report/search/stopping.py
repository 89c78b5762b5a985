"""Why a search proposes no more, in words."""

from __future__ import annotations

from smt_nas.errors import format_count
from smt_nas.search.stop_rule import StopReason, StopRule
from smt_nas.search.watch.stopping import STALLED


def stop_line(reason: StopReason, rule: StopRule, tried: int) -> str:
    """One line on why it stopped, and how it goes on."""
    networks = f"{format_count(tried, 'network')} tried"
    if reason == "minutes":
        return (
            f"{networks} in the {rule.minutes:g} minutes that --minutes gave; no more are proposed "
            "(resume --minutes +10 goes on)."
        )
    return (
        f"{networks}; no more are proposed: the hypervolume grew by at most {STALLED:.1%} in "
        f"{format_count(rule.hv_stall or 0, 'round')} (resume --n +100 goes on)."
    )
