"""The labels of a data set's pictures, how much each counts, and the targets of augmented batches."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from affect_contract.labels import LABELS
from affect_contract.outputs import SCALAR_NAMES
from affect_dataset.samples import Sample
from affect_training.recipes.recipe import ClassWeights

Floats = NDArray[np.float32]


def expressions(samples: Sequence[Sample]) -> NDArray[np.int64]:
    """Expression ids, [n]."""
    return np.array([sample.expression for sample in samples], np.int64)


def affect(samples: Sequence[Sample]) -> Floats:
    """Valence and arousal of samples that have them, [n, 2]."""
    return np.array([[getattr(sample, name) for name in SCALAR_NAMES] for sample in samples], np.float32)


def has_affect(sample: Sample) -> bool:
    """Whether valence and arousal are known."""
    return all(getattr(sample, name) is not None for name in SCALAR_NAMES)


def expression_weights(labels: NDArray[np.int64], chosen: ClassWeights) -> Floats | None:
    """How much each example counts in the loss, [n] with mean 1; None where all count the same."""
    if chosen is ClassWeights.NONE:
        return None
    counts = np.bincount(labels, minlength=len(LABELS))
    present = int((counts > 0).sum())
    return np.asarray(len(labels) / (present * counts[labels]), np.float32)


def weighted_expressions(samples: Sequence[Sample], chosen: ClassWeights) -> Floats:
    """One-hot expressions, [n, 8], each multiplied by its weight."""
    labels = expressions(samples)
    weights = expression_weights(labels, chosen)
    one_hot = np.eye(len(LABELS), dtype=np.float32)[labels]
    return one_hot if weights is None else one_hot * weights[:, None]


def known_affect(samples: Sequence[Sample]) -> Floats:
    """Valence, arousal and 1 where they are known, three zeros where they are not, [n, 3]."""
    targets = np.zeros((len(samples), len(SCALAR_NAMES) + 1), np.float32)
    for row, sample in zip(targets, samples, strict=True):
        if has_affect(sample):
            row[:] = *(getattr(sample, name) for name in SCALAR_NAMES), 1
    return targets


def mixed(targets: Floats, other: NDArray[np.intp], share: Floats) -> Floats:
    """``share`` of each row, [n, d], and the rest of the row at index ``other``, [n]."""
    return share * targets + (1 - share) * targets[other]


def mixed_affect(targets: Floats, other: NDArray[np.intp], share: Floats) -> Floats:
    """Mix rows of `known_affect`; half of an unknown value is unknown."""
    rows = mixed(targets, other, share)
    rows[:, -1] = np.minimum(targets[:, -1], targets[other, -1])
    return rows
