"""Tables of times that were measured on a device: on disk, and for spaces that hold more."""
