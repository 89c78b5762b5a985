"""A search runs: rounds are proposed, evaluated and verified, in one process or many."""
