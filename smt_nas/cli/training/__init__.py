"""Commands that train: what they say, and what they do to their process first."""
