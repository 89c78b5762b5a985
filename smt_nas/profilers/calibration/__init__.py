"""Measured tables of a device: when each block is timed, and what is fitted to the times."""
