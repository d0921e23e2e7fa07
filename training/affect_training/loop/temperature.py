"""Temperature scaling: confidences that say how often they are right, with the same winning class.

One figure T, fitted on the validation split, divides the logits (Guo et al., 2017, arXiv:1706.04599). Dividing the
weights of the last layer does the same, so the exported graph is no larger.
"""

from dataclasses import dataclass
from typing import Any, Final

import keras
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from affect_contract.calibration_error import expected_calibration_error

_LOG_BOUNDS: Final = (np.log(0.05), np.log(20.0))
_SMALLEST: Final = 1e-12

Views = NDArray[np.float32]
"""[v, n, 8]: the probabilities of n pictures in each of v views whose mean is the answer."""


@dataclass(frozen=True)
class Calibration:
    """A temperature, and what it does on the split it was fitted on."""

    temperature: float
    """From 0.05 to 20; above 1, the network was surer than it was right."""
    error_before: float
    """Expected calibration error without it."""
    error_after: float


def fitted(views: Views, labels: NDArray[Any]) -> Calibration:
    """The temperature with the least cross-entropy.

    Args:
        views: float32 [v, n, 8], each row summing to 1.
        labels: int [n], the true classes.
    """
    logits = np.log(np.maximum(views.astype(np.float64), _SMALLEST))
    found = minimize_scalar(lambda log: _cross_entropy(_tempered(logits, np.exp(log)), labels), bounds=_LOG_BOUNDS)
    temperature = float(np.exp(found.x))
    errors = [expected_calibration_error(labels, _tempered(logits, one)) for one in (1.0, temperature)]
    return Calibration(temperature, *errors)


def apply(head: keras.Model, temperature: float) -> None:
    """Divide the logits of a classification head, in place."""
    last = head.layers[-1]
    last.set_weights([value / temperature for value in last.get_weights()])


def _tempered(logits: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """The mean answer of the views at a temperature, [n, 8]."""
    scaled = np.exp((logits - logits.max(axis=-1, keepdims=True)) / temperature)
    return np.asarray((scaled / scaled.sum(axis=-1, keepdims=True)).mean(axis=0))


def _cross_entropy(probabilities: NDArray[np.float64], labels: NDArray[Any]) -> float:
    return float(-np.log(np.maximum(probabilities[np.arange(len(labels)), labels], _SMALLEST)).mean())
