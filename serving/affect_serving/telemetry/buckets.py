"""The bucket boundaries that several histograms share."""

from typing import Final

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Buckets for times, in seconds: from one picture on a fast model to the default deadline."""
