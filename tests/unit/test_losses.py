"""The losses of fine-tuning held against Keras's own."""

import keras
import numpy as np
import pytest

from affect_training.loop.losses import AffectLoss, SmoothedCrossEntropy


def test_the_cross_entropy_is_that_of_keras():
    generator = np.random.default_rng(0)
    probabilities = generator.dirichlet(np.ones(8), 20).astype(np.float32)
    targets = np.eye(8, dtype=np.float32)[generator.integers(0, 8, 20)]
    expected = keras.losses.CategoricalCrossentropy(label_smoothing=0.1)(targets, probabilities)
    assert float(SmoothedCrossEntropy(0.1)(targets, probabilities)) == pytest.approx(float(expected), rel=1e-5)


def test_the_affect_loss_is_what_concordance_lacks_and_passes_over_what_is_unknown():
    generator = np.random.default_rng(0)
    true = generator.uniform(-1, 1, (20, 2)).astype(np.float32)
    predicted = (0.5 * true + generator.normal(0, 0.2, true.shape)).astype(np.float32)
    ccc = np.mean(keras.metrics.ConcordanceCorrelation(axis=0)(true, predicted))
    error = np.mean((true - predicted) ** 2)
    known = np.concatenate([true, np.ones((20, 1), np.float32)], axis=1)
    unknown = np.zeros((3, 3), np.float32)
    both = (np.concatenate([known, unknown]), np.concatenate([predicted, np.full((3, 2), 0.9, np.float32)]))
    loss = AffectLoss(concordance=1.0, squared_error=0.5)
    assert float(loss(known, predicted)) == pytest.approx(1 - ccc + 0.5 * error, abs=1e-4)
    assert float(loss(*both)) == pytest.approx(float(loss(known, predicted)), abs=1e-5)
