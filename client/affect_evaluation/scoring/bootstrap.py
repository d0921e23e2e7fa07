"""Confidence intervals of scores by the percentile bootstrap (Efron 1979, Annals of Statistics 7, 1-26).

Pictures are drawn with replacement, as integer weights, so that all scores of thousands of draws follow from sums. The
draws depend on the seed and the number of pictures alone: two models that answered the same pictures get the same
draws, which makes the differences of their scores paired.
"""

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from affect_contract.labels import AFFECT_MAX, AFFECT_MIN, LABELS
from affect_evaluation.scoring.metrics import Ids, Scores, normalised

RESAMPLES: Final = 1_000
SEED: Final = 0
LEVEL: Final = 0.95

_CHUNK_VALUES: Final = 500_000
"""Most weights in memory at a time, whatever the number of pictures and draws."""

Draws = Mapping[str, Scores]
"""By metric, its values in all draws, float64 [draws]; NaN where it is undefined in a draw."""
Interval = list[float]
"""Lower and upper end of a confidence interval."""


def classification_draws(true: Ids, probabilities: Scores, *, resamples: int = RESAMPLES, seed: int = SEED) -> Draws:
    """Compute the scores of `metrics.classification` in each draw of the pictures."""
    predicted = probabilities.argmax(axis=1)
    cell = true * len(LABELS) + predicted
    ranked = normalised(probabilities)
    rankings = [_Ranking(true == number, ranked[:, number]) for number in range(len(LABELS))]
    chunks = []
    for weights in _weights(len(true), resamples, seed):
        confusion = np.stack([np.bincount(cell, one, len(LABELS) ** 2) for one in weights]).astype(np.float64)
        scores = _decision_scores(confusion.reshape(-1, len(LABELS), len(LABELS)))
        curves = np.stack([ranking.areas(weights) for ranking in rankings])
        with np.errstate(all="ignore"):
            scores["auc_roc_macro"], scores["auc_pr_macro"] = (
                _mean_defined(curves[..., 0]),
                _mean_defined(curves[..., 1]),
            )
        chunks.append(scores)
    return _joined(chunks)


def regression_draws(true: Scores, predicted: Scores, *, resamples: int = RESAMPLES, seed: int = SEED) -> Draws:
    """Compute the scores of `metrics.regression` in each draw of the pictures."""
    clipped = np.clip(predicted, AFFECT_MIN, AFFECT_MAX)
    errors = clipped - true
    agreement = (np.sign(clipped) == np.sign(true)).astype(np.float64)
    columns = (errors**2, np.abs(errors), agreement, true, clipped, true**2, clipped**2, true * clipped)
    features = np.stack(columns, axis=1)
    chunks = []
    for weights in _weights(len(true), resamples, seed):
        square, size, agrees, t, p, tt, pp, tp = (weights @ features / len(true)).T
        var_t, var_p, cov = tt - t**2, pp - p**2, tp - t * p
        with np.errstate(all="ignore"):
            chunks.append(
                {
                    "rmse": np.sqrt(square),
                    "mae": size,
                    "sagr": agrees,
                    "corr": cov / np.sqrt(var_t * var_p),
                    "ccc": 2 * cov / (var_t + var_p + (t - p) ** 2),
                }
            )
    return _joined(chunks)


def intervals(draws: Draws, level: float = LEVEL) -> dict[str, Interval | None]:
    """Return by metric the interval that holds ``level`` of the draws; None if it is undefined in most draws."""
    return {name: _interval(values, level) for name, values in draws.items()}


def differences(after: Draws, before: Draws) -> Draws:
    """Return ``after`` minus ``before`` in each draw, for every metric that both have."""
    return {name: after[name] - before[name] for name in after if name in before}


class _Ranking:
    """One class against the rest: the pictures sorted once by probability, with equal probabilities as ties."""

    def __init__(self, positive: NDArray[np.bool_], probability: Scores) -> None:
        self._order = np.argsort(-probability, kind="stable")
        ranked = probability[self._order]
        self._last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
        self._positive = positive[self._order].astype(np.float64)

    def areas(self, weights: Scores) -> Scores:
        """Return AUC-ROC and average precision in each draw: float64 [draws, 2]."""
        return np.stack([self._area(one) for one in weights])

    def _area(self, weights: Scores) -> Scores:
        ranked = weights[self._order]
        right = np.cumsum(ranked * self._positive)[self._last]
        seen = np.cumsum(ranked)[self._last]
        wrong = seen - right
        if right[-1] == 0 or wrong[-1] == 0:
            return np.full(2, np.nan)
        roc = np.trapezoid(np.append(0, right), np.append(0, wrong)) / (right[-1] * wrong[-1])
        gained = np.diff(right, prepend=0.0)
        with np.errstate(all="ignore"):
            precision = np.where(seen > 0, right / seen, 0.0)
        return np.array([roc, np.sum(gained * precision) / right[-1]])


def _decision_scores(confusion: Scores) -> dict[str, Scores]:
    """Compute the scores that follow from confusion matrices [draws, true, predicted]."""
    total = confusion.sum(axis=(1, 2))
    right = np.trace(confusion, axis1=1, axis2=2)
    true, predicted = confusion.sum(axis=2), confusion.sum(axis=1)
    both = true + predicted
    accuracy = right / total
    with np.errstate(all="ignore"):
        f1 = np.where(both > 0, 2 * np.diagonal(confusion, axis1=1, axis2=2) / both, 0.0)
        by_chance = (true * predicted).sum(axis=1) / total**2
        kappa = (accuracy - by_chance) / (1 - by_chance)
        pairs = 2 * total
        disagreement = 1 - (both * (both - 1)).sum(axis=1) / (pairs * (pairs - 1))
        alpha = 1 - (1 - accuracy) / disagreement
    return {"accuracy": accuracy, "f1_macro": f1.mean(axis=1), "cohen_kappa": kappa, "krippendorff_alpha": alpha}


def _weights(pictures: int, resamples: int, seed: int) -> Iterator[Scores]:
    """Yield how often each picture is drawn, in chunks [draws, pictures] of ``resamples`` draws in all."""
    random = np.random.default_rng(seed)
    chunk = max(1, min(resamples, _CHUNK_VALUES // pictures))
    for start in range(0, resamples, chunk):
        drawn = (random.integers(0, pictures, pictures) for _ in range(min(chunk, resamples - start)))
        yield np.stack([np.bincount(one, minlength=pictures) for one in drawn]).astype(np.float64)


def _mean_defined(values: Scores) -> Scores:
    """Return the mean over classes of the values [classes, draws] that are defined."""
    defined = ~np.isnan(values)
    count: Scores = np.where(defined.any(axis=0), defined.sum(axis=0), np.nan)
    total: Scores = np.where(defined, values, 0.0).sum(axis=0)
    return total / count


def _joined(chunks: list[dict[str, Scores]]) -> Draws:
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


def _interval(values: Scores, level: float) -> Interval | None:
    defined = values[np.isfinite(values)]
    if len(defined) * 2 <= len(values):
        return None
    return [float(end) for end in np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])]
