"""Intervals: the draws score what the metrics score, are the same for every model, and cover what they should."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affect_evaluation.scoring import bootstrap
from affect_evaluation.scoring.bootstrap import classification_draws, differences, intervals, regression_draws
from affect_evaluation.scoring.metrics import classification, regression

CLASSIFIED = ("accuracy", "f1_macro", "cohen_kappa", "krippendorff_alpha", "auc_roc_macro", "auc_pr_macro")
PLACED = ("rmse", "mae", "sagr", "corr", "ccc")


def answers(n, seed=0, ties=False):
    random = np.random.default_rng(seed)
    true = random.integers(0, 8, n)
    logits = random.normal(size=(n, 8)) + 1.5 * np.eye(8)[true]
    if ties:
        logits = np.round(logits)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return true, probabilities


def tracks(n, seed=0):
    random = np.random.default_rng(seed)
    true = random.uniform(-1, 1, n)
    true[:: max(1, n // 5)] = 0
    return true, np.clip(0.5 * true + random.normal(0, 0.3, n), -1.2, 1.2)


def drawn_pictures(n, resamples, seed):
    random = np.random.default_rng(seed)
    return [random.integers(0, n, n) for _ in range(resamples)]


@given(n=st.integers(20, 120), seed=st.integers(0, 1000), ties=st.booleans())
@settings(max_examples=25, deadline=None)
def test_each_draw_of_expressions_scores_as_the_drawn_pictures_do(n, seed, ties):
    true, probabilities = answers(n, seed, ties)
    draws = classification_draws(true, probabilities, resamples=3, seed=seed)
    for number, chosen in enumerate(drawn_pictures(n, 3, seed)):
        expected = classification(true[chosen], probabilities[chosen])
        for name in CLASSIFIED:
            wanted = np.nan if expected[name] is None else expected[name]
            assert draws[name][number] == pytest.approx(wanted, abs=1e-9, nan_ok=True), name


@given(n=st.integers(5, 120), seed=st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_each_draw_of_valence_scores_as_the_drawn_pictures_do(n, seed):
    true, predicted = tracks(n, seed)
    draws = regression_draws(true, predicted, resamples=3, seed=seed)
    for number, chosen in enumerate(drawn_pictures(n, 3, seed)):
        expected = regression(true[chosen], predicted[chosen])
        for name in PLACED:
            wanted = np.nan if expected[name] is None else expected[name]
            assert draws[name][number] == pytest.approx(wanted, abs=1e-7, nan_ok=True), name


def test_the_same_seed_gives_the_same_intervals_and_another_one_others():
    true, probabilities = answers(200)
    first, again = (intervals(classification_draws(true, probabilities)) for _ in range(2))
    assert first == again
    assert first != intervals(classification_draws(true, probabilities, seed=1))


def test_draws_in_chunks_are_the_draws_at_once(monkeypatch):
    true, predicted = tracks(50)
    at_once = regression_draws(true, predicted, resamples=40)
    monkeypatch.setattr(bootstrap, "_CHUNK_VALUES", 150)
    in_chunks = regression_draws(true, predicted, resamples=40)
    np.testing.assert_allclose(in_chunks["ccc"], at_once["ccc"], atol=1e-12)


def test_an_interval_holds_the_score_and_narrows_with_more_pictures():
    widths = []
    for n in (100, 1600):
        true, probabilities = answers(n)
        low, high = intervals(classification_draws(true, probabilities))["accuracy"]
        assert low < classification(true, probabilities)["accuracy"] < high
        widths.append(high - low)
    assert widths[1] < widths[0] / 3


def test_ninety_five_of_a_hundred_intervals_hold_the_truth():
    held = 0
    for seed in range(100):
        right = np.random.default_rng(seed).random(300) < 0.7
        true = np.zeros(300, np.int64)
        probabilities = np.where(right[:, None], np.eye(8)[0], np.eye(8)[1])
        low, high = intervals(classification_draws(true, probabilities, resamples=300, seed=seed))["accuracy"]
        held += low <= 0.7 <= high
    assert 88 <= held <= 100


def test_a_model_does_not_differ_from_itself_and_pairs_are_drawn_alike():
    true, predicted = tracks(200)
    same = regression_draws(true, predicted)
    assert intervals(differences(same, same))["ccc"] == [0.0, 0.0]
    shifted = regression_draws(true, predicted + 1e-3)
    low, high = intervals(differences(shifted, same))["rmse"]
    unpaired = intervals(same)["rmse"]
    assert high - low < 0.1 * (unpaired[1] - unpaired[0])


def test_a_metric_that_no_draw_defines_has_no_interval():
    true = np.zeros(30, np.int64)
    draws = classification_draws(true, np.tile(np.eye(8)[0], (30, 1)))
    found = intervals(draws)
    assert found["cohen_kappa"] is found["auc_roc_macro"] is None
    assert found["accuracy"] == [1.0, 1.0]


def test_one_picture_can_be_drawn():
    found = intervals(regression_draws(np.array([0.5]), np.array([0.25])))
    assert found["rmse"] == [0.25, 0.25]
    assert found["corr"] is None
