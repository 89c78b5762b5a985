"""Images with many objects: boxes, masks, a class for every pixel."""
