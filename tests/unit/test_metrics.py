"""The field's metrics against closed forms, hand-worked cases and properties."""

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from affect_evaluation.scoring import metrics
from affect_evaluation.scoring.metrics import (
    classification,
    cohen_kappa,
    concordance,
    correlation,
    krippendorff_alpha,
    regression,
)

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
    assert set(scores["undefined"]) == {"corr", "ccc", "sagr_without_zeros"}
    assert scores["sagr"] == 1
    assert scores["sagr_without_zeros"] is None


def test_sign_agreement_counts_zero_as_a_sign_of_its_own():
    scores = regression(np.array([0, 0.5, -0.5]), np.array([0.1, 0.2, -0.3]))
    assert scores["sagr"] == pytest.approx(2 / 3, **EXACT)
    assert scores["sagr_without_zeros"] == 1


def test_predictions_are_clipped_before_they_are_scored():
    truth = np.array([1.0, -1.0, 0.5])
    scores = regression(truth, np.array([3.0, -7.0, 0.5]))
    assert scores["n_clipped"] == 2
    assert scores == {**regression(truth, truth), "n_clipped": 2}


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
    assert scores["absent_classes"] == ["surprise", "fear", "disgust", "anger", "contempt"]
    fear = scores["per_class"]["fear"]
    assert (fear["recall"], fear["prevalence"]) == (None, 0)
    assert fear["undefined"]["recall"] == fear["undefined"]["auc_roc"] == "not in the truth"


def test_what_was_never_predicted_has_no_precision_and_counts_as_nothing_in_the_mean():
    scores = classification(np.array([0, 0, 1, 1]), certain([0, 0, 0, 0]))
    happy, sad = scores["per_class"]["happy"], scores["per_class"]["sad"]
    assert (happy["precision"], happy["recall"], happy["f1"]) == (None, 0, 0)
    assert happy["undefined"] == {"precision": "never predicted"}
    assert (sad["f1"], sad["undefined"]["f1"]) == (None, "neither in the truth nor predicted")
    assert scores["f1_macro"] == pytest.approx((2 / 3) / 8, **EXACT)


@pytest.mark.parametrize("predicted", [[3, 3], [3, 4]], ids=["right", "half right"])
def test_a_truth_of_one_class_has_no_curve(predicted):
    scores = classification(np.array([3, 3]), certain(predicted))
    assert scores["auc_roc_macro"] is None
    assert scores["undefined"]["auc_pr_macro"] == "the truth has one class only"
    assert scores["per_class"]["surprise"]["undefined"]["auc_roc"] == "the truth has no other class"
    assert ("cohen_kappa" in scores["undefined"]) == (predicted == [3, 3])


def test_every_score_that_is_none_has_its_reason_and_no_other_has():
    for truth in ([0], [0, 0], [0, 1], list(range(8))):
        scores = classification(np.array(truth), certain(np.zeros_like(truth)))
        for group in (scores, *scores["per_class"].values(), regression(np.zeros(2), np.zeros(2))):
            assert set(group["undefined"]) == {name for name, score in group.items() if score is None}


def test_the_guess_of_everybody_has_the_prevalence_as_its_area_under_precision_and_recall():
    truth = np.array([0] * 6 + [1] * 2)
    scores = classification(truth, np.full((8, 8), 1 / 8))
    assert scores["per_class"]["happy"]["auc_pr"] == pytest.approx(scores["per_class"]["happy"]["prevalence"], **EXACT)
    assert scores["per_class"]["happy"]["auc_roc"] == pytest.approx(0.5, **EXACT)


def test_average_precision_is_the_mean_precision_at_each_right_picture():
    rng = np.random.default_rng(4)
    truth, probabilities = rng.permutation(np.repeat(np.arange(8), 5)), rng.dirichlet(np.ones(8), 40)
    expected = []
    for number in range(8):
        right = (truth == number)[np.argsort(-probabilities[:, number])]
        expected.append(np.mean((np.cumsum(right) / np.arange(1, 41))[right]))
    assert classification(truth, probabilities)["auc_pr_macro"] == pytest.approx(np.mean(expected), **EXACT)


def test_kappa_f1_precision_and_recall_follow_from_the_confusion_matrix():
    rng = np.random.default_rng(5)
    truth, predicted = rng.integers(0, 8, (2, 400))
    scores = classification(truth, certain(predicted))
    table = np.zeros((8, 8))
    np.add.at(table, (truth, predicted), 1)
    assert np.array_equal(scores["confusion"], table)
    chance = (table.sum(0) * table.sum(1)).sum() / 400**2
    assert scores["cohen_kappa"] == pytest.approx((np.trace(table) / 400 - chance) / (1 - chance), **EXACT)
    precision, recall = np.diag(table) / table.sum(0), np.diag(table) / table.sum(1)
    f1 = 2 * precision * recall / (precision + recall)
    assert scores["f1_macro"] == pytest.approx(f1.mean(), **EXACT)
    for number, group in enumerate(scores["per_class"].values()):
        assert group["precision"] == pytest.approx(precision[number], **EXACT)
        assert group["recall"] == pytest.approx(recall[number], **EXACT)
        assert group["f1"] == pytest.approx(f1[number], **EXACT)


def test_alpha_and_kappa_of_many_pictures_are_near_each_other_and_nominal():
    rng = np.random.default_rng(6)
    truth = rng.integers(0, 8, 4000)
    predicted = np.where(rng.random(4000) < 0.5, truth, rng.integers(0, 8, 4000))
    assert krippendorff_alpha(truth, predicted) == pytest.approx(cohen_kappa(truth, predicted), abs=1e-3)
    relabelled = rng.permutation(8)
    again = krippendorff_alpha(relabelled[truth], relabelled[predicted])
    assert again == pytest.approx(krippendorff_alpha(truth, predicted), **EXACT), "a nominal scale has no order"


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


@pytest.mark.parametrize("score", [regression, concordance, correlation])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_refused(score, value):
    for tracks in (([0.1, value], [0.1, 0.2]), ([0.1, 0.2], [0.1, value])):
        with pytest.raises(ValueError, match="must be finite"):
            score(*map(np.array, tracks))


def test_probabilities_that_are_no_numbers_and_ids_that_are_none_are_refused():
    with pytest.raises(ValueError, match="probabilities must"):
        classification(np.array([0]), np.full((1, 8), np.nan))
    with pytest.raises(ValueError, match=r"ids must lie in 0\.\.7"):
        classification(np.array([8]), certain([0]))
    with pytest.raises(ValueError, match=r"ids must lie in 0\.\.7"):
        krippendorff_alpha(np.array([0]), np.array([-1]))


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


@given(TRACKS)
def test_turning_the_signs_of_both_tracks_changes_nothing_and_of_one_turns_agreement(tracks):
    both, one = regression(*-tracks), regression(tracks[0], -tracks[1])
    scores = regression(*tracks)
    for name in ("rmse", "mae", "corr", "sagr", "ccc"):
        assert both[name] == pytest.approx(scores[name], abs=1e-9)
    if scores["corr"] is not None:
        assert one["corr"] == pytest.approx(-scores["corr"], abs=1e-9)


@given(TRACKS)
def test_a_track_agrees_with_itself(tracks):
    scores = regression(tracks[0], tracks[0])
    assert (scores["rmse"], scores["mae"], scores["sagr"]) == (0, 0, 1)
    assert scores["corr"] is None or scores["corr"] == pytest.approx(1, abs=1e-9)
    assert scores["ccc"] is None or scores["ccc"] == pytest.approx(1, abs=1e-9)


@given(TRACKS)
def test_errors_are_those_of_their_definitions(tracks):
    truth, predicted = tracks
    scores = regression(truth, predicted)
    assert scores["rmse"] ** 2 == pytest.approx(sum((p - t) ** 2 for t, p in tracks.T) / len(truth), abs=1e-9)
    assert scores["mae"] == pytest.approx(sum(abs(p - t) for t, p in tracks.T) / len(truth), abs=1e-9)
    assert scores["mae"] <= scores["rmse"] + 1e-9


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
