"""Compare runs of the evaluation with each other."""
