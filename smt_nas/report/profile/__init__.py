"""A profile shown: costs, counters, readings, comparisons, where the time goes."""
