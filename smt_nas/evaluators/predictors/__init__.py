"""Evaluators that learn from networks that were trained: features, regression, what is known."""
