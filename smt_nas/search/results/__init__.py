"""What a search tells at its end: the front, the recommended network, what to train in full."""
