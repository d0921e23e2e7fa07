"""Compute scores with confidence intervals from recorded answers."""
