"""One update of a network: its parts, and the form that a GPU replays as one CUDA graph."""
