"""The field's metrics against closed forms, hand-worked cases and properties."""

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from affect_client.evaluation import metrics
from affect_client.evaluation.metrics import classification, concordance, correlation, krippendorff_alpha, regression

EXACT = {"abs": 1e-9, "rel": 0}


def certain(ids) -> np.ndarray:
    return np.asarray(np.eye(8)[np.asarray(ids)])


def spread_track(seed: int = 0, n: int = 50) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.8, 0.8, n)


def test_identical_tracks_agree_perfectly():
    truth = spread_track()
    scores = regression(truth, truth)
    assert (scores["rmse"], scores["mae"], scores["sagr"]) == (0, 0, 1)
    assert scores["ccc"] == pytest.approx(1, **EXACT)
    assert scores["corr"] == pytest.approx(1, **EXACT)


def test_an_offset_always_costs():
    truth = spread_track()
    scores = regression(truth, truth + 0.1)
    assert scores["corr"] == pytest.approx(1, **EXACT)
    assert scores["ccc"] == pytest.approx(2 * truth.var() / (2 * truth.var() + 0.01), **EXACT)
    assert scores["rmse"] == pytest.approx(0.1, **EXACT)
    assert scores["mae"] == pytest.approx(0.1, **EXACT)


def test_a_mirrored_track_disagrees_perfectly_but_for_its_zeros():
    half = np.array([0.0, 0.3, 0.7])
    truth = np.concatenate([half, -half])
    scores = regression(truth, -truth)
    assert scores["ccc"] == pytest.approx(-1, **EXACT)
    assert scores["corr"] == pytest.approx(-1, **EXACT)
    assert scores["sagr"] == pytest.approx(2 / 6, **EXACT)
    assert scores["sagr_without_zeros"] == 0
    assert scores["n_zero"] == 2


def test_a_constant_prediction_has_no_concordance_and_no_correlation():
    scores = regression(spread_track(), np.full(50, 0.2))
    assert scores["ccc"] == pytest.approx(0, abs=1e-12)
    assert scores["corr"] is None
    assert scores["undefined"] == {"corr": "truth or prediction is a constant"}


def test_two_equal_constants_have_no_concordance_either():
    scores = regression(np.zeros(3), np.zeros(3))
    assert scores["ccc"] is None
    assert set(scores["undefined"]) == {"corr", "ccc"}
    assert scores["sagr"] == 1
    assert scores["sagr_without_zeros"] is None


def test_sign_agreement_counts_zero_as_a_sign_of_its_own():
    scores = regression(np.array([0, 0.5, -0.5]), np.array([0.1, 0.2, -0.3]))
    assert scores["sagr"] == pytest.approx(2 / 3, **EXACT)
    assert scores["sagr_without_zeros"] == 1


def test_predictions_are_clipped_before_they_are_scored():
    truth = np.array([1.0, -1.0, 0.5])
    assert regression(truth, np.array([3.0, -7.0, 0.5])) == regression(truth, truth)


def test_concordance_uses_population_moments_throughout():
    truth, predicted = spread_track(1, 10), spread_track(2, 10)
    covariance = np.cov(truth, predicted, ddof=0)
    spread = covariance[0, 0] + covariance[1, 1] + (truth.mean() - predicted.mean()) ** 2
    assert concordance(truth, predicted) == pytest.approx(2 * covariance[0, 1] / spread, **EXACT)


def test_the_hand_worked_case_of_four_pictures():
    scores = classification(np.array([0, 0, 1, 1]), certain([0, 1, 1, 1]))
    assert scores["accuracy"] == 0.75
    assert scores["cohen_kappa"] == pytest.approx(0.5, **EXACT)
    expected = 1 - 0.25 / (1 - (3 * 2 + 5 * 4) / (8 * 7))
    assert scores["krippendorff_alpha"] == pytest.approx(expected, **EXACT)
    assert scores["f1_macro"] == pytest.approx((2 / 3 + 0.8) / 8, **EXACT)
    assert scores["confusion"][0][:2] == [1, 1]
    assert scores["confusion"][1][:2] == [0, 2]
    assert scores["per_class"]["happy"]["precision"] == pytest.approx(2 / 3, **EXACT)
    assert scores["per_class"]["happy"]["recall"] == 1


def test_alpha_equals_its_closed_form_for_two_raters():
    rng = np.random.default_rng(0)
    truth, predicted = rng.integers(0, 8, (2, 300))
    counts = np.bincount(np.concatenate([truth, predicted]), minlength=8)
    total = counts.sum()
    expected_disagreement = 1 - (counts * (counts - 1)).sum() / (total * (total - 1))
    closed_form = 1 - np.mean(truth != predicted) / expected_disagreement
    assert krippendorff_alpha(truth, predicted) == pytest.approx(closed_form, **EXACT)


def test_alpha_refuses_raters_and_units_the_wrong_way_round():
    with pytest.raises(ValueError, match="need two tracks"):
        krippendorff_alpha(np.zeros((5, 2), int), np.zeros((5, 2), int))


def test_a_class_without_pictures_is_left_out_of_the_means_and_named():
    truth = np.array([0, 1, 2, 0, 1, 2])
    probabilities = np.random.default_rng(0).dirichlet(np.ones(8), 6)
    scores = classification(truth, probabilities)
    assert scores["per_class"]["fear"]["auc_roc"] is None
    present = [scores["per_class"][name]["auc_pr"] for name in ("neutral", "happy", "sad")]
    assert scores["auc_pr_macro"] == pytest.approx(np.mean(present), **EXACT)
    assert "surprise, fear, disgust, anger, contempt" in scores["undefined"]["auc"]


def test_the_area_under_the_roc_curve_is_the_share_of_pairs_in_order():
    rng = np.random.default_rng(3)
    truth = np.repeat(np.arange(8), 5)
    probabilities = rng.dirichlet(np.ones(8), 40)
    areas = []
    for number in range(8):
        inside, outside = probabilities[truth == number, number], probabilities[truth != number, number]
        areas.append(np.mean(inside[:, None] > outside[None, :]))
    assert classification(truth, probabilities)["auc_roc_macro"] == pytest.approx(np.mean(areas), **EXACT)


def test_one_picture_can_be_scored():
    scores = classification(np.array([3]), certain([3]))
    assert (scores["n"], scores["accuracy"], scores["cohen_kappa"], scores["krippendorff_alpha"]) == (1, 1, None, None)
    assert regression(np.array([0.5]), np.array([0.4]))["corr"] is None


def test_float32_probabilities_are_scored_as_they_come():
    probabilities = np.random.default_rng(0).dirichlet(np.ones(8), 64).astype(np.float32).astype(np.float64)
    assert classification(np.arange(64) % 8, probabilities)["n"] == 64


@pytest.mark.parametrize(
    ("truth", "probabilities"),
    [
        (np.array([0, 1]), np.array([[5.0, -3, 0, 0, 0, 0, 0, 0]] * 2)),
        (np.array([0, 1]), np.full((2, 8), 0.2)),
        (np.array([0]), certain([0, 1])),
        (np.array([], int), np.empty((0, 8))),
        (np.array([0]), np.array([[1.0]])),
    ],
    ids=["logits", "sums to 1.6", "lengths differ", "nothing", "one column"],
)
def test_what_are_no_probabilities_are_refused(truth, probabilities):
    with pytest.raises(ValueError, match="need ids|probabilities must"):
        classification(truth, probabilities)


@pytest.mark.parametrize(
    ("truth", "predicted"), [(np.zeros(2), np.zeros(3)), (np.zeros(0), np.zeros(0)), (np.zeros((2, 2)),) * 2]
)
def test_tracks_that_do_not_fit_are_refused(truth, predicted):
    with pytest.raises(ValueError, match="need two tracks"):
        regression(truth, predicted)


TRACKS = arrays(np.float64, st.integers(2, 40).map(lambda n: (2, n)), elements=st.floats(-1, 1))


@given(TRACKS)
def test_concordance_is_symmetric_bounded_and_never_above_correlation(tracks):
    truth, predicted = tracks
    ccc, corr = concordance(truth, predicted), correlation(truth, predicted)
    if ccc is None:
        return
    assert ccc == pytest.approx(concordance(predicted, truth), abs=1e-9)
    assert -1 - 1e-9 <= ccc <= 1 + 1e-9
    if corr is not None:
        assert abs(ccc) <= abs(corr) + 1e-6


@given(TRACKS, st.randoms(use_true_random=False))
def test_no_metric_depends_on_the_order_of_the_pictures(tracks, random):
    order = list(range(tracks.shape[1]))
    random.shuffle(order)
    left, right = regression(*tracks), regression(*tracks[:, order])
    for name in ("rmse", "mae", "corr", "sagr", "ccc"):
        assert left[name] == pytest.approx(right[name], abs=1e-9)


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), min_size=1, max_size=60))
def test_accuracy_is_the_diagonal_of_the_confusion_matrix(rows):
    truth, predicted = np.array(rows).T
    scores = classification(truth, certain(predicted))
    assert scores["accuracy"] == pytest.approx(np.trace(np.array(scores["confusion"])) / len(rows), **EXACT)
    assert np.sum(scores["confusion"]) == len(rows)


def test_the_examples_of_the_module_are_right():
    assert doctest.testmod(metrics).attempted > 0
    assert doctest.testmod(metrics).failed == 0
