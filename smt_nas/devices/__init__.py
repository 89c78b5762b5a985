"""What hardware does: data sheets, what this machine is, op roofline, measured block tables.

NumPy only; tracing a network for its operators is `smt_nas.models.trace`.
"""

from smt_nas.devices.conditions import MODES, Conditions
from smt_nas.devices.latency import Latency
from smt_nas.devices.ops import Op

__all__ = ["MODES", "Conditions", "Latency", "Op"]
