"""A data set's labels as arrays, in the order of its samples."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from affect_dataset.samples import Sample


def expressions(samples: Sequence[Sample]) -> NDArray[np.int64]:
    """AffectNet ids, int64 [n]."""
    return np.array([sample.expression for sample in samples], np.int64)


def affect(samples: Sequence[Sample]) -> NDArray[np.float64]:
    """Valence and arousal, float64 [n, 2]; NaN where a sample has none."""
    pairs = [(sample.valence, sample.arousal) for sample in samples]
    return np.array(pairs, np.float64).reshape(-1, 2)
