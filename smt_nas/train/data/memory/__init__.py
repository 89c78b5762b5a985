"""Images decoded once and held in memory; batches made of them by vectorised transforms."""
