"""Where many calls of one function run: processes of this machine, or tasks of a Ray cluster."""
