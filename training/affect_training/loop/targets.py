"""What a data set's pictures teach each task: labels, and how much each example counts."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from affect_contract.labels import LABELS
from affect_contract.outputs import Task
from affect_dataset.samples import Sample
from affect_training.errors import TrainingError
from affect_training.recipes.recipe import ClassWeights


def usable(task: Task, samples: Sequence[Sample]) -> list[Sample]:
    """The samples that carry the labels of ``task``.

    Raises:
        TrainingError: there is none.
    """
    chosen = [sample for sample in samples if task is Task.CLASSIFICATION or sample.valence is not None]
    if not chosen:
        raise TrainingError(f"no picture of a split has the labels that {task} needs: leave {task} out of --tasks")
    return chosen


def labels(task: Task, samples: Sequence[Sample]) -> NDArray[Any]:
    """int64 [n] expression ids, or float32 [n, 2] valence and arousal."""
    if task is Task.CLASSIFICATION:
        return np.array([sample.expression for sample in samples], np.int64)
    return np.array([(sample.valence, sample.arousal) for sample in samples], np.float32)


def weights(task: Task, class_weights: ClassWeights, targets: NDArray[Any]) -> NDArray[np.float32] | None:
    """How much each example counts in the loss, float32 [n] with mean 1; None where all count the same."""
    if task is Task.REGRESSION or class_weights is ClassWeights.NONE:
        return None
    counts = np.bincount(targets, minlength=len(LABELS))
    present = int((counts > 0).sum())
    return np.asarray(len(targets) / (present * counts[targets]), np.float32)
