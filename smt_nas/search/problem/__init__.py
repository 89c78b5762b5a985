"""What is searched for: space, objectives, constraints, and how latency is predicted."""
