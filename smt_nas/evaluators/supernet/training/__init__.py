"""The training of a supernet: which networks a step trains, the step, its state, the whole."""
