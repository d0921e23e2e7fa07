"""Metrics of expressions, valence and arousal, computed by scikit-learn, scipy and krippendorff where they have them.

Definitions follow AffectNet (Mollahosseini et al. 2019, IEEE Trans. Affective Computing 10(1)). Every function takes
a whole set, since the mean of batch means is another number. A score that is undefined is None, and the ``undefined``
beside it holds the reason under the score's name.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, TypedDict

import krippendorff
import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn import metrics as sk

from affect_contract.calibration_error import expected_calibration_error
from affect_contract.labels import AFFECT_MAX, AFFECT_MIN, LABELS

_CLASSES: Final = list(range(len(LABELS)))
_CONSTANT: Final = 1e-12
"""A standard deviation below this is rounding noise around a constant."""
_SUM_TOLERANCE: Final = 1e-3
_ONE_CLASS: Final = "truth and prediction are one and the same class throughout"

Ids = NDArray[np.int64]
Scores = NDArray[np.float64]
Reasons = dict[str, str]
"""The reasons why scores are None, by the score's name."""


class ClassScores(TypedDict):
    """The scores of one expression against the rest."""

    precision: float | None
    recall: float | None
    f1: float | None
    auc_roc: float | None
    auc_pr: float | None
    prevalence: float
    """Share of the pictures that show the expression, which is the ``auc_pr`` of a random guess."""
    undefined: Reasons


class Classification(TypedDict):
    """The scores of predicted expressions."""

    n: int
    accuracy: float
    f1_macro: float
    cohen_kappa: float | None
    auc_roc_macro: float | None
    auc_pr_macro: float | None
    krippendorff_alpha: float | None
    expected_calibration_error: float
    per_class: dict[str, ClassScores]
    absent_classes: list[str]
    """Expressions that no picture shows: left out of the means of AUC, and counted as 0 in the mean of F1."""
    confusion: list[list[int]]
    """Number of pictures by true (row) and predicted (column) AffectNet id."""
    undefined: Reasons


class Regression(TypedDict):
    """The scores of predicted valence, or of predicted arousal."""

    n: int
    rmse: float
    mae: float
    corr: float | None
    sagr: float
    sagr_without_zeros: float | None
    n_zero: int
    """Number of annotations that are exactly 0, whose sign a prediction hardly ever matches."""
    n_clipped: int
    """Number of predictions outside [-1, 1]."""
    ccc: float | None
    undefined: Reasons


def classification(true: Ids, probabilities: Scores) -> Classification:
    """Compute the scores of predicted probabilities.

    Args:
        true: AffectNet ids, int [n], n >= 1.
        probabilities: float [n, 8] in id order, each row summing to 1.

    Returns:
        Accuracy, macro F1 over all eight classes, Cohen's unweighted kappa, macro one-vs-rest AUC-ROC and AUC-PR
        (average precision) over the classes that the truth has, nominal alpha.

    Raises:
        ValueError: the shapes do not match, an id is out of range, or a row is not a distribution.
    """
    _check_distributions(true, probabilities)
    predicted = probabilities.argmax(axis=1)
    per_class = _per_class(true, predicted, probabilities)
    kappa, alpha = cohen_kappa(true, predicted), krippendorff_alpha(true, predicted)
    auc_roc = _mean_defined(scores["auc_roc"] for scores in per_class.values())
    auc_pr = _mean_defined(scores["auc_pr"] for scores in per_class.values())
    return Classification(
        n=len(true),
        accuracy=float(np.mean(predicted == true)),
        f1_macro=float(sk.f1_score(true, predicted, labels=_CLASSES, average="macro", zero_division=0.0)),
        cohen_kappa=kappa,
        auc_roc_macro=auc_roc,
        auc_pr_macro=auc_pr,
        krippendorff_alpha=alpha,
        expected_calibration_error=expected_calibration_error(true, probabilities),
        per_class=per_class,
        absent_classes=[label for label, scores in per_class.items() if scores["prevalence"] == 0],
        confusion=sk.confusion_matrix(true, predicted, labels=_CLASSES).tolist(),
        undefined=_reasons(
            {"cohen_kappa": kappa, "krippendorff_alpha": alpha, "auc_roc_macro": auc_roc, "auc_pr_macro": auc_pr},
            {
                "cohen_kappa": _ONE_CLASS,
                "krippendorff_alpha": _ONE_CLASS,
                "auc_roc_macro": "the truth has one class only",
                "auc_pr_macro": "the truth has one class only",
            },
        ),
    )


def regression(true: Scores, predicted: Scores) -> Regression:
    """Compute the scores of predicted valence, or of predicted arousal.

    Args:
        true: annotations, float [n] in [-1, 1], n >= 1.
        predicted: predictions, float [n]; clipped to [-1, 1] first, as EmoNet does.

    Returns:
        Population moments throughout. SAGR is the share of equal signs, 0 being a sign of its own (EmoNet's), and
        beside it the share where the annotation has a sign.

    Raises:
        ValueError: the shapes differ, there is no picture, or a value is not finite.
    """
    _check_tracks(true, predicted)
    clipped = np.clip(predicted, AFFECT_MIN, AFFECT_MAX)
    errors = clipped - true
    agreement = np.sign(clipped) == np.sign(true)
    signed = true != 0
    corr, ccc = correlation(true, clipped), concordance(true, clipped)
    sagr_without_zeros = float(np.mean(agreement[signed])) if signed.any() else None
    return Regression(
        n=len(true),
        rmse=float(np.sqrt(np.mean(errors**2))),
        mae=float(np.mean(np.abs(errors))),
        corr=corr,
        sagr=float(np.mean(agreement)),
        sagr_without_zeros=sagr_without_zeros,
        n_zero=int(np.sum(~signed)),
        n_clipped=int(np.sum(clipped != predicted)),
        ccc=ccc,
        undefined=_reasons(
            {"corr": corr, "ccc": ccc, "sagr_without_zeros": sagr_without_zeros},
            {
                "corr": "truth or prediction is a constant",
                "ccc": "truth and prediction are the same constant",
                "sagr_without_zeros": "every annotation is 0",
            },
        ),
    )


def concordance(true: Scores, predicted: Scores) -> float | None:
    """Return the concordance correlation coefficient of two tracks, float [n].

    Unlike Pearson's r it falls when the prediction is offset or rescaled. Moments are population moments.

    Returns:
        A value in [-1, 1], 0 for a constant prediction; None if both tracks are the same constant.

    Source: Lin (1989), Biometrics 45(1), 255-268.

    Example:
        >>> concordance(np.array([0.0, 1.0]), np.array([0.0, 1.0]))
        1.0
    """
    _check_tracks(true, predicted)
    spread = true.var() + predicted.var() + (true.mean() - predicted.mean()) ** 2
    if spread <= _CONSTANT**2:
        return None
    if _is_constant(true) or _is_constant(predicted):
        return 0.0
    covariance = np.mean((true - true.mean()) * (predicted - predicted.mean()))
    return float(2.0 * covariance / spread)


def correlation(true: Scores, predicted: Scores) -> float | None:
    """Return Pearson's r of two tracks, float [n]; None if one of them is constant."""
    _check_tracks(true, predicted)
    if _is_constant(true) or _is_constant(predicted):
        return None
    return float(stats.pearsonr(true, predicted).statistic)


def krippendorff_alpha(true: Ids, predicted: Ids) -> float | None:
    """Return the nominal alpha of truth and prediction as two raters, int [n] each; None if only one value occurs."""
    _check_id_tracks(true, predicted)
    ratings = np.vstack([true, predicted])  # raters by units: the transpose would silently give another number
    if np.unique(ratings).size == 1:
        return None
    return float(krippendorff.alpha(reliability_data=ratings, level_of_measurement="nominal"))


def cohen_kappa(true: Ids, predicted: Ids) -> float | None:
    """Return the unweighted kappa of two tracks of ids, int [n]; None if only one value occurs."""
    _check_id_tracks(true, predicted)
    if np.unique(np.concatenate([true, predicted])).size == 1:
        return None
    return float(sk.cohen_kappa_score(true, predicted))


def normalised(probabilities: Scores) -> Scores:
    """Scale rows [n, 8] so that they sum to 1; the API's float32 values do so only to 1e-6."""
    rows: Scores = probabilities / probabilities.sum(axis=1, keepdims=True)
    return rows


def _per_class(true: Ids, predicted: Ids, probabilities: Scores) -> dict[str, ClassScores]:
    probabilities = normalised(probabilities)
    precision, recall, f1, _ = sk.precision_recall_fscore_support(
        true, predicted, labels=_CLASSES, average=None, zero_division=np.nan
    )
    return {
        label: _class_scores(
            true == number,
            probabilities[:, number],
            {"precision": precision[number], "recall": recall[number], "f1": f1[number]},
        )
        for number, label in enumerate(LABELS)
    }


def _class_scores(positive: NDArray[np.bool_], probability: Scores, by_decision: Mapping[str, float]) -> ClassScores:
    decided = {name: None if np.isnan(value) else float(value) for name, value in by_decision.items()}
    both = 0 < positive.sum() < len(positive)
    auc_roc = float(sk.roc_auc_score(positive, probability)) if both else None
    auc_pr = float(sk.average_precision_score(positive, probability)) if both else None
    one_sided = "the truth has no other class" if positive.any() else "not in the truth"
    reasons = {
        "precision": "never predicted",
        "recall": "not in the truth",
        "f1": "neither in the truth nor predicted",
        "auc_roc": one_sided,
        "auc_pr": one_sided,
    }
    return ClassScores(
        precision=decided["precision"],
        recall=decided["recall"],
        f1=decided["f1"],
        auc_roc=auc_roc,
        auc_pr=auc_pr,
        prevalence=float(positive.mean()),
        undefined=_reasons({**decided, "auc_roc": auc_roc, "auc_pr": auc_pr}, reasons),
    )


def _reasons(scores: Mapping[str, float | None], reasons: Reasons) -> Reasons:
    return {name: reasons[name] for name, score in scores.items() if score is None}


def _mean_defined(values: Iterable[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None


def _is_constant(track: Scores) -> bool:
    return bool(track.std() < _CONSTANT)


def _check_tracks(true: Scores, predicted: Scores) -> None:
    _check_shapes(true, predicted)
    if not (np.isfinite(true).all() and np.isfinite(predicted).all()):
        raise ValueError("scores must be finite: was a picture without annotation passed?")


def _check_id_tracks(true: Ids, predicted: Ids) -> None:
    _check_shapes(true, predicted)
    if not (np.isin(true, _CLASSES).all() and np.isin(predicted, _CLASSES).all()):
        raise ValueError(f"ids must lie in 0..{len(LABELS) - 1}")


def _check_shapes(true: NDArray[Any], predicted: NDArray[Any]) -> None:
    if true.ndim != 1 or true.shape != predicted.shape or true.size == 0:
        raise ValueError(f"need two tracks [n >= 1], got {true.shape} and {predicted.shape}")


def _check_distributions(true: Ids, probabilities: Scores) -> None:
    if true.ndim != 1 or true.size == 0 or probabilities.shape != (len(true), len(LABELS)):
        raise ValueError(f"need ids [n >= 1] and probabilities [n, 8], got {true.shape} and {probabilities.shape}")
    sums = probabilities.sum(axis=1)
    if not np.allclose(sums, 1.0, atol=_SUM_TOLERANCE) or (probabilities < 0).any():
        raise ValueError("probabilities must lie in [0, 1] and sum to 1 in every row: were logits passed?")
    if not np.isin(true, _CLASSES).all():
        raise ValueError(f"ids must lie in 0..{len(LABELS) - 1}")
