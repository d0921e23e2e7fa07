"""What is reached without looking at a picture: the training split's majority class, and its means."""

from collections.abc import Sequence

import numpy as np

from affect_client.evaluation.metrics import Classification, Regression, classification, regression
from affect_client.evaluation.truth import affect, expressions
from affect_contract.labels import LABELS
from affect_contract.models import AROUSAL, VALENCE
from affect_dataset.samples import Sample


def majority_class(training: Sequence[Sample], scored: Sequence[Sample]) -> Classification:
    """Always the most frequent expression of the training pictures (the lowest id among equals)."""
    counts = np.bincount(expressions(training), minlength=len(LABELS))
    certain = np.zeros((len(scored), len(LABELS)))
    certain[:, counts.argmax()] = 1.0
    return classification(expressions(scored), certain)


def mean_predictor(training: Sequence[Sample], scored: Sequence[Sample]) -> dict[str, Regression] | None:
    """Always the training pictures' mean valence and mean arousal; None where one of the two has no annotations."""
    known, true = (pairs[~np.isnan(pairs).any(axis=1)] for pairs in (affect(training), affect(scored)))
    if not len(known) or not len(true):
        return None
    means = known.mean(axis=0)
    return {
        name: regression(true[:, column], np.full(len(true), means[column]))
        for column, name in enumerate((VALENCE, AROUSAL))
    }
