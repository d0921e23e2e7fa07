"""Scores of baselines that look at no picture: the training split's majority class, and its means."""

from collections.abc import Sequence

import numpy as np

from affect_contract.labels import LABELS
from affect_contract.outputs import SCALAR_NAMES
from affect_dataset.samples import Sample
from affect_evaluation.run.truth import Prior, complete_rows, expression_ids, scalar_values
from affect_evaluation.scoring.metrics import Classification, Regression, classification, regression


def majority_class(prior: Prior, scored: Sequence[Sample]) -> Classification | None:
    """Score a predictor of the most frequent training expression; None without training pictures."""
    if prior.majority is None:
        return None
    certain = np.zeros((len(scored), len(LABELS)))
    certain[:, prior.majority] = 1.0
    return classification(expression_ids(scored), certain)


def mean_predictor(prior: Prior, scored: Sequence[Sample]) -> dict[str, Regression] | None:
    """Score a predictor of the training means of valence and arousal; None without annotations in either split."""
    values = scalar_values(scored)
    true = values[complete_rows(values)]
    if prior.means is None or not len(true):
        return None
    return {
        name: regression(true[:, column], np.full(len(true), prior.means[column]))
        for column, name in enumerate(SCALAR_NAMES)
    }
