"""Where the trials of a search are kept: its database, and how several processes share it."""
