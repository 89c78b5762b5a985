"""SMT-Bench-mini: networks of this family that were really trained; evidence, and a problem."""
