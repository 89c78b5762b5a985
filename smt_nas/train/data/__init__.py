"""From a source of labelled images to batches: reading, splitting, sampling, transforms."""
