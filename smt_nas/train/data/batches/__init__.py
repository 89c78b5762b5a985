"""From images to batches: order, transforms, reading by workers."""
