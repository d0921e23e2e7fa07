"""What is reached without looking at a picture: the training split's majority class, and its means."""

from collections.abc import Sequence

import numpy as np

from affect_contract.labels import LABELS
from affect_contract.outputs import SCALAR_NAMES
from affect_dataset.samples import Sample
from affect_evaluation.run.truth import Prior, affect, expressions, whole
from affect_evaluation.scoring.metrics import Classification, Regression, classification, regression


def majority_class(prior: Prior, scored: Sequence[Sample]) -> Classification | None:
    """Always the most frequent expression of the training pictures; None where there are none."""
    if prior.majority is None:
        return None
    certain = np.zeros((len(scored), len(LABELS)))
    certain[:, prior.majority] = 1.0
    return classification(expressions(scored), certain)


def mean_predictor(prior: Prior, scored: Sequence[Sample]) -> dict[str, Regression] | None:
    """Always the training pictures' mean valence and mean arousal; None where one of the two has no annotations."""
    pairs = affect(scored)
    true = pairs[whole(pairs)]
    if prior.means is None or not len(true):
        return None
    return {
        name: regression(true[:, column], np.full(len(true), prior.means[column]))
        for column, name in enumerate(SCALAR_NAMES)
    }
