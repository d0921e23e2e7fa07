"""The field's metrics; scikit-learn, scipy and krippendorff compute what they know.

Definitions follow AffectNet (Mollahosseini et al. 2019, IEEE Trans. Affective Computing 10(1)). Every function
takes whole sets: no mean of batch means. What is undefined is None.
"""

from collections.abc import Sequence
from typing import Final, TypedDict

import krippendorff
import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn import metrics as sk

from affect_contract.labels import AFFECT_MAX, AFFECT_MIN, LABELS

_CLASSES: Final = range(len(LABELS))
_CONSTANT: Final = 1e-12
"""A standard deviation below this is rounding noise around a constant."""
_SUM_TOLERANCE: Final = 1e-3

Ids = NDArray[np.int64]
Scores = NDArray[np.float64]


class ClassScores(TypedDict):
    """One expression against the rest; None where the truth has none, or nothing else."""

    precision: float
    recall: float
    f1: float
    auc_roc: float | None
    auc_pr: float | None
    prevalence: float


class Classification(TypedDict):
    """Scores of expressions."""

    n: int
    accuracy: float
    f1_macro: float
    cohen_kappa: float | None
    auc_roc_macro: float | None
    auc_pr_macro: float | None
    krippendorff_alpha: float | None
    per_class: dict[str, ClassScores]
    confusion: list[list[int]]
    undefined: dict[str, str]


class Regression(TypedDict):
    """Scores of valence or of arousal."""

    n: int
    rmse: float
    mae: float
    corr: float | None
    sagr: float
    sagr_without_zeros: float | None
    n_zero: int
    ccc: float | None
    undefined: dict[str, str]


def classification(true: Ids, probabilities: Scores) -> Classification:
    """Score predicted probabilities against expression ids.

    Args:
        true: AffectNet ids, int [n], n >= 1.
        probabilities: float [n, 8] in id order, each row summing to 1.

    Returns:
        Accuracy, macro F1 over the eight classes (0 for a class never predicted right), Cohen's unweighted kappa,
        macro one-vs-rest AUC-ROC and AUC-PR (average precision) over the classes that occur, nominal alpha.

    Raises:
        ValueError: shapes that do not fit, or rows that are no distributions.
    """
    _check_distributions(true, probabilities)
    # The API's float32 sums to 1 only to 1e-6, which scikit-learn does not accept.
    probabilities = probabilities / probabilities.sum(axis=1, keepdims=True)
    predicted = probabilities.argmax(axis=1)
    per_class = _per_class(true, predicted, probabilities)
    undefined: dict[str, str] = {}
    kappa = _kappa(true, predicted)
    alpha = krippendorff_alpha(true, predicted)
    if kappa is None or alpha is None:
        undefined |= dict.fromkeys(("cohen_kappa", "krippendorff_alpha"), "truth and prediction are one single class")
    absent = [name for name, scores in per_class.items() if scores["auc_roc"] is None]
    if absent:
        undefined["auc"] = f"left out of the means, for want of pictures: {', '.join(absent)}"
    return Classification(
        n=len(true),
        accuracy=float(np.mean(predicted == true)),
        f1_macro=float(sk.f1_score(true, predicted, labels=list(_CLASSES), average="macro", zero_division=0.0)),
        cohen_kappa=kappa,
        auc_roc_macro=_mean_defined([scores["auc_roc"] for scores in per_class.values()]),
        auc_pr_macro=_mean_defined([scores["auc_pr"] for scores in per_class.values()]),
        krippendorff_alpha=alpha,
        per_class=per_class,
        confusion=sk.confusion_matrix(true, predicted, labels=list(_CLASSES)).tolist(),
        undefined=undefined,
    )


def regression(true: Scores, predicted: Scores) -> Regression:
    """Score predicted valence, or arousal.

    Args:
        true: annotations, float [n] in [-1, 1], n >= 1.
        predicted: predictions, float [n]; clipped to [-1, 1] first, as EmoNet does.
    """
    if true.shape != predicted.shape or true.ndim != 1 or true.size == 0:
        raise ValueError(f"need two tracks [n >= 1], got {true.shape} and {predicted.shape}")
    predicted = np.clip(predicted, AFFECT_MIN, AFFECT_MAX)
    errors = predicted - true
    agreement = np.sign(predicted) == np.sign(true)
    signed = true != 0
    undefined: dict[str, str] = {}
    corr = correlation(true, predicted)
    if corr is None:
        undefined["corr"] = "truth or prediction is a constant"
    ccc = concordance(true, predicted)
    if ccc is None:
        undefined["ccc"] = "truth and prediction are the same constant"
    return Regression(
        n=len(true),
        rmse=float(np.sqrt(np.mean(errors**2))),
        mae=float(np.mean(np.abs(errors))),
        corr=corr,
        sagr=float(np.mean(agreement)),
        sagr_without_zeros=float(np.mean(agreement[signed])) if signed.any() else None,
        n_zero=int(np.sum(~signed)),
        ccc=ccc,
        undefined=undefined,
    )


def concordance(true: Scores, predicted: Scores) -> float | None:
    """Concordance correlation coefficient of two tracks, float [n].

    Unlike Pearson's r it falls when the prediction is offset or rescaled. Moments are population moments.

    Returns:
        A value in [-1, 1], 0 for a constant prediction; None where both tracks are the same constant.

    Source: Lin (1989), Biometrics 45(1), 255-268.

    Example:
        >>> concordance(np.array([0.0, 1.0]), np.array([0.0, 1.0]))
        1.0
    """
    spread = true.var() + predicted.var() + (true.mean() - predicted.mean()) ** 2
    if spread <= _CONSTANT**2:
        return None
    covariance = np.mean((true - true.mean()) * (predicted - predicted.mean()))
    return float(2.0 * covariance / spread)


def correlation(true: Scores, predicted: Scores) -> float | None:
    """Pearson's r of two tracks, float [n]; None where one of them is constant."""
    if min(true.std(), predicted.std()) < _CONSTANT:
        return None
    return float(stats.pearsonr(true, predicted).statistic)


def krippendorff_alpha(true: Ids, predicted: Ids) -> float | None:
    """Nominal alpha of truth and prediction as two raters, int [n] each; None where only one value occurs."""
    if true.ndim != 1 or true.shape != predicted.shape:
        raise ValueError(f"need two tracks of ids [n], got {true.shape} and {predicted.shape}")
    ratings = np.vstack([true, predicted])  # raters by units: the transpose gives another number without a word
    if np.unique(ratings).size == 1:
        return None
    return float(krippendorff.alpha(reliability_data=ratings, level_of_measurement="nominal"))


def _kappa(true: Ids, predicted: Ids) -> float | None:
    if np.unique(np.concatenate([true, predicted])).size == 1:
        return None
    return float(sk.cohen_kappa_score(true, predicted))


def _per_class(true: Ids, predicted: Ids, probabilities: Scores) -> dict[str, ClassScores]:
    precision, recall, f1, _ = sk.precision_recall_fscore_support(
        true, predicted, labels=list(_CLASSES), average=None, zero_division=0.0
    )
    scores: dict[str, ClassScores] = {}
    for number, label in enumerate(LABELS):
        positive = true == number
        both = 0 < positive.sum() < len(positive)
        scores[label] = ClassScores(
            precision=float(precision[number]),
            recall=float(recall[number]),
            f1=float(f1[number]),
            auc_roc=float(sk.roc_auc_score(positive, probabilities[:, number])) if both else None,
            auc_pr=float(sk.average_precision_score(positive, probabilities[:, number])) if both else None,
            prevalence=float(positive.mean()),
        )
    return scores


def _mean_defined(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None


def _check_distributions(true: Ids, probabilities: Scores) -> None:
    if true.ndim != 1 or true.size == 0 or probabilities.shape != (len(true), len(LABELS)):
        raise ValueError(f"need ids [n >= 1] and probabilities [n, 8], got {true.shape} and {probabilities.shape}")
    sums = probabilities.sum(axis=1)
    if (probabilities < 0).any() or not np.allclose(sums, 1.0, atol=_SUM_TOLERANCE):
        raise ValueError("probabilities must lie in [0, 1] and sum to 1 in every row: were logits passed?")
