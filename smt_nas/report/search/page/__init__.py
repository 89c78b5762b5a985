"""The page of a search: what was asked, what to take, the front to look through, the evidence."""
