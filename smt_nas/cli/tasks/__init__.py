"""Words of tasks beside classification: detection and segmentation."""
