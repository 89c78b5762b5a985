"""How a search stands: hypervolume, when to stop, its history as a table."""
