"""The table of tasks: the labels, losses and measures of each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import keras
import numpy as np
from numpy.typing import NDArray

from affect_contract.outputs import Task
from affect_dataset.samples import Sample
from affect_training.errors import TrainingError
from affect_training.loop import targets
from affect_training.loop.losses import AffectLoss, SmoothedCrossEntropy
from affect_training.loop.targets import Floats
from affect_training.loop.validation import Epoch, affect_measures, expression_measures, mean_concordance
from affect_training.recipes.recipe import ClassWeights, FineTuning


@dataclass(frozen=True, kw_only=True)
class TaskTraining:
    """How one task is trained; the fields ``joint_...`` are for fine-tuning with the heads of all tasks."""

    has_labels: Callable[[Sample], bool]
    labels: Callable[[Sequence[Sample]], NDArray[Any]]
    """[n] or [n, units], of samples that have them."""
    weights: Callable[[NDArray[Any], ClassWeights], Floats | None]
    """[n], how much the example of each label counts in the loss; None where all count the same."""
    loss: str
    metrics: Sequence[str]
    measures: Callable[[NDArray[Any], Floats], Epoch]
    """Of labels and a head's outputs, [n, units]."""
    joint_targets: Callable[[Sequence[Sample], ClassWeights], Floats]
    joint_mixed: Callable[[Floats, NDArray[np.intp], Floats], Floats]
    """[n, d] targets, each mixed with that of its partner, [n], of which its own share remains."""
    joint_loss: Callable[[FineTuning], keras.losses.Loss]
    joint_weight: Callable[[FineTuning], float]
    """Of the loss, beside those of other tasks."""
    joint_metrics: Sequence[str]
    joint_val_loss: Callable[[Epoch, FineTuning], float]
    """Of what ``measures`` gave."""


def _affect_val_loss(found: Epoch, recipe: FineTuning) -> float:
    return recipe.concordance * (1 - mean_concordance(found)) + recipe.squared_error * found["val_loss"]


TASKS: Final = {
    Task.CLASSIFICATION: TaskTraining(
        has_labels=lambda _: True,
        labels=targets.expressions,
        weights=targets.expression_weights,
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
        measures=expression_measures,
        joint_targets=targets.weighted_expressions,
        joint_mixed=targets.mixed,
        joint_loss=lambda recipe: SmoothedCrossEntropy(recipe.label_smoothing),
        joint_weight=lambda recipe: recipe.classification,
        joint_metrics=["accuracy"],
        joint_val_loss=lambda found, _: found["val_loss"],
    ),
    Task.REGRESSION: TaskTraining(
        has_labels=targets.has_affect,
        labels=targets.affect,
        weights=lambda *_: None,
        loss="mean_squared_error",
        metrics=["mean_absolute_error"],
        measures=affect_measures,
        joint_targets=lambda samples, _: targets.known_affect(samples),
        joint_mixed=targets.mixed_affect,
        joint_loss=lambda recipe: AffectLoss(recipe.concordance, recipe.squared_error),
        joint_weight=lambda _: 1.0,
        joint_metrics=[],
        joint_val_loss=_affect_val_loss,
    ),
}


def usable(task: Task, samples: Sequence[Sample]) -> list[Sample]:
    """The samples that carry the labels of ``task``.

    Raises:
        TrainingError: there is none.
    """
    chosen = [sample for sample in samples if TASKS[task].has_labels(sample)]
    if not chosen:
        raise TrainingError(f"no picture of a split has the labels that {task} needs: leave {task} out of --tasks")
    return chosen
