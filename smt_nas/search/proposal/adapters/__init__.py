"""Strategies of other tools behind our protocol: Optuna, Ax, NNI."""
