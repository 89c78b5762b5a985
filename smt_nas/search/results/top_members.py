"""The networks of a front that are trained in full, with the preset of equal MACs beside each."""

from __future__ import annotations

import math
from collections.abc import Sequence

from smt_nas.arch import PRESETS, Architecture
from smt_nas.nasbench.equal_macs import Design, fit_widths
from smt_nas.search.results.knee_points import choose_knees
from smt_nas.search.results.outcome import Outcome
from smt_nas.search.results.results import Result
from smt_nas.space import SearchSpace
from smt_nas.train.front_training import FrontMember

_EQUAL = 0.1  # share by which MACs may differ and still be called equal
_SCALED = "smt_t"


def list_top_members(outcome: Outcome, top: int) -> list[FrontMember]:
    """At most `top` knee points, the most prominent first, then the presets.

    Folders are named by keys: what is a network's name on the front is another's after more trials.
    """
    knees = choose_knees(outcome.problem, outcome.front, top)
    space = outcome.problem.space
    presets = {m.arch.key: m for m in (_find_preset(r, outcome.baselines, space) for r in knees)}
    ours = [FrontMember(r.name, r.arch.key, r.arch, r.arch.key) for r in knees]
    return [*ours, *presets.values()]


def _find_preset(r: Result, presets: Sequence[Result], space: SearchSpace) -> FrontMember:
    """The nearest preset; where it costs much more or less, SMT-T's blocks in other widths."""
    macs = r.values["macs"]
    near = min(presets, key=lambda p: abs(math.log(p.values["macs"] / macs)))
    if abs(near.values["macs"] / macs - 1) > _EQUAL:
        scaled = _scale_preset(space, macs)
        if scaled is not None:
            name = f"{_SCALED} scaled to {r.name}"
            return FrontMember(name, scaled.key, scaled, scaled.key, baseline=True)
    return FrontMember(near.name, near.name, near.arch, near.arch.key, baseline=True)


def _scale_preset(space: SearchSpace, macs: float) -> Architecture | None:
    """SMT-T's depths and FFNs in widths that cost so much; None where none do."""
    stages = [(s.depth, s.mlp_ratio) for s in PRESETS[_SCALED].stages]
    (d1, r1), (d2, r2), (d3, r3), (d4, r4) = stages
    return fit_widths(space, Design((d1, d2, d3, d4), (r1, r2, r3, r4)), macs)
