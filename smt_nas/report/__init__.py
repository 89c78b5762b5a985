"""Show it: tables and documents made of results. Nothing here prints."""
