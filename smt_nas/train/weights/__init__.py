"""Weights on disk: checkpoints, files of ours and of others, initialising from them."""

from smt_nas.train.weights.weights import build_network, read_weights

__all__ = ["build_network", "read_weights"]
