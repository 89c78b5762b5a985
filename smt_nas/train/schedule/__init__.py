"""Trainings at a constant rate: how it rises and falls, and many lengths of one training."""
