"""How good detections and segmentations are: average precision, intersection over union."""
