"""The `short-train` evaluator: many networks trained for a few epochs, few of them to the end."""
