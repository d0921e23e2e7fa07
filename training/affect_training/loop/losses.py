"""The losses of fine-tuning, in ``keras.ops`` alone."""

from typing import Any, Final

import keras
from keras import ops

_EPSILON: Final = 1e-6


class SmoothedCrossEntropy(keras.losses.Loss):  # type: ignore[misc]
    """Cross-entropy of probabilities, [n, 8], against targets that may be mixed or weighted.

    Args:
        smoothing: share of each target's weight that goes evenly to all classes (Szegedy et al., 2016,
            arXiv:1512.00567).
    """

    def __init__(self, smoothing: float) -> None:
        super().__init__(name="smoothed_cross_entropy")
        self._smoothing = smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """One loss an example, [n]."""
        weight = ops.sum(y_true, axis=-1, keepdims=True)
        smoothed = y_true * (1 - self._smoothing) + weight * self._smoothing / y_true.shape[-1]
        return -ops.sum(smoothed * ops.log(ops.maximum(y_pred, keras.config.epsilon())), axis=-1)


class AffectLoss(keras.losses.Loss):  # type: ignore[misc]
    """What a batch's valence and arousal, [n, 2], lack in concordance, and their squared error.

    Targets are [n, 3]: valence, arousal, and 1 where they are known or 0 where they are not. The concordance
    correlation coefficient is Lin's (1989, doi:10.2307/2532051), of the whole batch.

    Args:
        concordance: weight of 1 - CCC, the mean over valence and arousal.
        squared_error: weight of the mean squared error.
    """

    def __init__(self, concordance: float, squared_error: float) -> None:
        super().__init__(name="affect_loss", reduction=None)
        self._concordance = concordance
        self._squared_error = squared_error

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """One loss for the batch, a scalar."""
        known = y_true[:, -1:]
        share = known / (ops.sum(known) + _EPSILON)
        true, predicted = y_true[:, :-1], y_pred
        true_mean, predicted_mean = ops.sum(true * share, axis=0), ops.sum(predicted * share, axis=0)
        covariance = ops.sum((true - true_mean) * (predicted - predicted_mean) * share, axis=0)
        variances = ops.sum(((true - true_mean) ** 2 + (predicted - predicted_mean) ** 2) * share, axis=0)
        concordance = 2 * covariance / (variances + (true_mean - predicted_mean) ** 2 + _EPSILON)
        error = ops.mean(ops.sum((true - predicted) ** 2 * share, axis=0))
        return self._concordance * ops.mean(1 - concordance) + self._squared_error * error
