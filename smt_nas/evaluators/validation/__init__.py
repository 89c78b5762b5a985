"""How far evaluators can be trusted: their figures against networks that were trained."""
