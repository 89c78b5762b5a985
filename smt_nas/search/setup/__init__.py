"""A search is created or resumed: every check comes before anything is written."""
