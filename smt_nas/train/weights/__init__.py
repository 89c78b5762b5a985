"""Weights on disk: checkpoints, files of ours and of others, initialising from them."""
