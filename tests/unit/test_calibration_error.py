"""The expected calibration error that training and evaluation both report."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from affect_contract.calibration_error import CONFIDENCE_BINS, confidence_bins, expected_calibration_error
from affect_evaluation.scoring.metrics import classification
from tests.unit.test_bootstrap import answers


def test_sure_and_always_right_is_calibrated_and_sure_and_always_wrong_is_not():
    true = np.arange(8)
    assert expected_calibration_error(true, np.eye(8)) == 0
    assert expected_calibration_error(true, np.eye(8)[(true + 1) % 8]) == 1


def test_the_calibration_error_is_the_gap_weighted_by_pictures():
    # Three sure ones, of which two are right, and one at 0.5, which is right: (3 * 1/3 + 1 * 1/2) / 4.
    sure, half = np.eye(8)[0], np.array([0.5, 0.5 / 7, 0.5 / 7, 0.5 / 7, 0.5 / 7, 0.5 / 7, 0.5 / 7, 0.5 / 7])
    probabilities = np.stack([sure, sure, sure, half])
    true = np.array([0, 0, 1, 0])
    assert expected_calibration_error(true, probabilities) == pytest.approx(1.5 / 4)
    assert sum(one["n"] for one in confidence_bins(true, probabilities)) == 4


@given(seed=st.integers(0, 1000), n=st.integers(1, 60))
def test_the_calibration_error_lies_between_0_and_1_and_heeds_no_order(seed, n):
    true, probabilities = answers(n, seed)
    error = expected_calibration_error(true, probabilities)
    order = np.random.default_rng(seed).permutation(n)
    assert 0 <= error <= 1
    assert expected_calibration_error(true[order], probabilities[order]) == pytest.approx(error, abs=1e-12)


@given(seed=st.integers(0, 1000), n=st.integers(1, 200))
def test_the_calibration_error_is_the_surplus_of_confidence_summed_up_by_bin(seed, n):
    true, probabilities = answers(n, seed)
    confidence = probabilities.max(axis=1)
    surplus = confidence - (probabilities.argmax(axis=1) == true)
    places = np.minimum((confidence * CONFIDENCE_BINS).astype(int), CONFIDENCE_BINS - 1)
    summed = np.abs(np.bincount(places, surplus, minlength=CONFIDENCE_BINS)).sum() / n
    assert expected_calibration_error(true, probabilities) == pytest.approx(summed, abs=1e-12)


def test_a_run_reports_it():
    true, probabilities = answers(60)
    scores = classification(true, probabilities)
    assert scores["expected_calibration_error"] == expected_calibration_error(true, probabilities)
