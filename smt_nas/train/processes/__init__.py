"""The processes of a training: their group, signals, determinism, randomness by key."""
