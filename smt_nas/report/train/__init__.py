"""A training shown: its recipe, what it would be, what came of it, how well weights recognise."""
