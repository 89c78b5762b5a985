"""The deploy form of a network: the same function, with all that is constant computed once."""

from smt_nas.models.fused.fused_network import FusedSMT

__all__ = ["FusedSMT"]
