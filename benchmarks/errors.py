"""Errors of predictions, as the tables print them."""

from __future__ import annotations

import numpy as np

from smt_nas.devices.gpu_kernels import Floats


def mape(logs: Floats) -> float:
    """Mean absolute percentage error, in %, of logs of prediction over truth."""
    return float(100 * np.abs(np.expm1(logs)).mean())


def within(logs: Floats, share: float = 0.1) -> float:
    """Share of networks predicted within 10 %, in %."""
    return float(100 * (np.abs(np.expm1(logs)) <= share).mean())
