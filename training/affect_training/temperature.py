"""Temperature scaling: confidences that say how often they are right, with the same winning class.

One figure T, fitted on the validation split, divides the logits (Guo et al., 2017, arXiv:1706.04599). Dividing the
weights of the last layer does the same, so the exported graph is no larger.
"""

from typing import Any, Final

import keras
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

_LOG_BOUNDS: Final = (np.log(0.05), np.log(20.0))
_SMALLEST: Final = 1e-12


def fitted(probabilities: NDArray[np.float32], labels: NDArray[Any]) -> float:
    """The temperature with the least cross-entropy.

    Args:
        probabilities: float32 [n, 8].
        labels: int [n], the true classes.

    Returns:
        From 0.05 to 20; above 1, the network was surer than it was right.
    """
    logits = np.log(np.maximum(probabilities.astype(np.float64), _SMALLEST))
    found = minimize_scalar(lambda log: _cross_entropy(logits / np.exp(log), labels), bounds=_LOG_BOUNDS)
    return float(np.exp(found.x))


def apply(head: keras.Model, temperature: float) -> None:
    """Divide the logits of a classification head, in place."""
    last = head.layers[-1]
    last.set_weights([value / temperature for value in last.get_weights()])


def _cross_entropy(logits: NDArray[np.float64], labels: NDArray[Any]) -> float:
    highest = logits.max(axis=1)
    total = highest + np.log(np.exp(logits - highest[:, None]).sum(axis=1))
    return float((total - logits[np.arange(len(labels)), labels]).mean())
