"""Temperature scaling: honest confidences, the same winners."""

import keras
import numpy as np
import pytest

from affect_contract.outputs import Task
from affect_evaluation.scoring import metrics
from affect_training.loop.temperature import apply, fitted
from affect_training.networks.heads import build_head
from affect_training.recipes.recipe import Recipe


def test_the_temperature_makes_confidence_honest_and_changes_no_winner():
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 1.5, (4000, 8))
    honest = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (generator.random((4000, 1)) > honest.cumsum(axis=1)).sum(axis=1).clip(max=7)
    overconfident = np.exp(3 * logits) / np.exp(3 * logits).sum(axis=1, keepdims=True)
    calibration = fitted(overconfident[None].astype(np.float32), labels)
    assert calibration.temperature == pytest.approx(3, rel=0.1)
    assert calibration.error_after < 0.1 * calibration.error_before
    head = build_head(Task.CLASSIFICATION, 16, Recipe(hidden_units=8), seed=0)
    rows = generator.normal(0, 3, (50, 16)).astype(np.float32)
    before = keras.ops.convert_to_numpy(head(rows))
    apply(head, 2.0)
    after = keras.ops.convert_to_numpy(head(rows))
    expected = np.sqrt(before) / np.sqrt(before).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(after, expected, atol=1e-5)


def test_the_temperature_is_that_of_the_mean_answer_where_several_views_are_averaged():
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 1.5, (2, 4000, 8))
    views = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    labels = (generator.random((4000, 1)) > views.mean(axis=0).cumsum(axis=1)).sum(axis=1).clip(max=7)
    assert fitted(views.astype(np.float32), labels).temperature == pytest.approx(1, rel=0.1)
    assert fitted(views[:1].astype(np.float32), labels).temperature > 1.5


def test_the_calibration_error_is_the_one_that_the_evaluation_reports():
    generator = np.random.default_rng(0)
    probabilities = generator.dirichlet(np.ones(8) * 0.3, 500)
    labels = generator.integers(0, 8, 500)
    ours = fitted(probabilities[None].astype(np.float32), labels).error_before
    assert ours > 0.05
    reported = metrics.classification(labels, probabilities)["expected_calibration_error"]
    assert ours == pytest.approx(reported, abs=1e-6)
