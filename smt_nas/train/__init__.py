"""From a network and labelled images to weights: data, recipe, loop, checkpoints, evaluation."""
