"""Tables of published networks: pieces of the shipped one, and files of a user's own."""

from functools import cache

import numpy as np
import pandas

from smt_nas.arch import PRESETS
from smt_nas.evaluators.topology.fits import load_fit
from smt_nas.evaluators.topology.leave_family_out import LeaveFamilyOut
from smt_nas.evaluators.topology.published_table import SHIPPED, load_published


@cache
def leave_families_out(whole_lines=True):
    """The experiment on the shipped table, made once; about a second."""
    table = load_published()
    return LeaveFamilyOut(load_fit(), table, table, whole_lines)


def read_shipped():
    """The shipped table as a frame."""
    return pandas.read_csv(SHIPPED)


def write_own(path, change=lambda frame: frame, seed=0):
    """A user's table: some families of the shipped one, each with another name; changed."""
    frame = read_shipped()
    frame = frame[frame.comparable == 1]
    families = np.random.default_rng(seed).permutation(np.unique(frame.family))[:60]
    frame = frame[frame.family.isin([*families, "caformer", "pvt_v2"])]
    frame = frame.assign(family="own" + frame.family)
    change(frame).to_csv(path, index=False)
    return path


def promised_before():
    """The network that `joint` recommended at 2.4 GMACs when it knew the bench's topology."""
    rows = zip(
        PRESETS["smt_t"].stages,
        (96, 160, 192, 768),
        (1, 4, 2, 2),
        (2.0, 2.0, 2.0, 1.0),
        strict=True,
    )
    stages = tuple(
        stage.model_copy(update={"dim": dim, "depth": depth, "mlp_ratio": ratio})
        for stage, dim, depth, ratio in rows
    )
    return PRESETS["smt_t"].model_copy(update={"stages": stages})
