"""The strategy that learns: models of the evaluator over genes, and what they propose."""
