"""What to try next: screening by formulas, strategies, the surrogate that they refit."""
