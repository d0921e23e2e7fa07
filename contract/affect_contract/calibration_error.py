"""The expected calibration error, which compares confidence with accuracy in bins.

Source: Guo et al. (2017), On Calibration of Modern Neural Networks, ICML; 15 bins as there.
"""

from typing import Any, Final, TypedDict

import numpy as np
from numpy.typing import NDArray

CONFIDENCE_BINS: Final = 15


class ConfidenceBin(TypedDict):
    """A bin of predictions that have about the same confidence."""

    low: float
    high: float
    n: int
    confidence: float | None
    """The mean confidence of the predictions in the bin; None if there are none."""
    accuracy: float | None
    """The share of these predictions that is right; None if there are none."""


def confidence_bins(true: NDArray[Any], probabilities: NDArray[np.floating[Any]]) -> list[ConfidenceBin]:
    """Sort predictions into bins of equal width by the probability of the predicted class.

    Args:
        true: the ids of the true classes, int [n], n >= 1.
        probabilities: float [n, classes] in id order, each row summing to 1.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == true
    place = np.minimum((confidence * CONFIDENCE_BINS).astype(np.int64), CONFIDENCE_BINS - 1)
    bins = []
    for number in range(CONFIDENCE_BINS):
        inside = place == number
        filled = bool(inside.any())
        bins.append(
            ConfidenceBin(
                low=number / CONFIDENCE_BINS,
                high=(number + 1) / CONFIDENCE_BINS,
                n=int(inside.sum()),
                confidence=float(confidence[inside].mean()) if filled else None,
                accuracy=float(right[inside].mean()) if filled else None,
            )
        )
    return bins


def expected_calibration_error(true: NDArray[Any], probabilities: NDArray[np.floating[Any]]) -> float:
    """Return the mean distance between confidence and accuracy over `confidence_bins`, weighted by their pictures."""
    gaps = [
        one["n"] * abs(one["confidence"] - one["accuracy"])
        for one in confidence_bins(true, probabilities)
        if one["confidence"] is not None and one["accuracy"] is not None
    ]
    return float(sum(gaps) / len(true))
