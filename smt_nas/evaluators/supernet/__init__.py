"""A supernet: one training of all networks of a space, which then rates each in seconds."""

from smt_nas.evaluators.supernet.batch_norm_calibration import calibrate_batch_norms
from smt_nas.evaluators.supernet.coverage import LEAST_SHARE, Coverage
from smt_nas.evaluators.supernet.supernet_card import SupernetCard
from smt_nas.evaluators.supernet.supernet_directory import is_supernet, read_plan, read_space
from smt_nas.evaluators.supernet.supernet_options import SupernetOptions, SupernetRunOptions
from smt_nas.evaluators.supernet.trained_supernet import InheritedScore, Supernet, load_supernet
from smt_nas.evaluators.supernet.training.supernet_training import SupernetResult, train_supernet

__all__ = [
    "LEAST_SHARE",
    "Coverage",
    "InheritedScore",
    "Supernet",
    "SupernetCard",
    "SupernetOptions",
    "SupernetResult",
    "SupernetRunOptions",
    "calibrate_batch_norms",
    "is_supernet",
    "load_supernet",
    "read_plan",
    "read_space",
    "train_supernet",
]
