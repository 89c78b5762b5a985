"""Files that code is cut from: they run as they are, and leave without our package."""
