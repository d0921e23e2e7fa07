"""The checks of a recipe and a split that come before any work."""

from collections.abc import Sequence
from typing import Final

import keras

from affect_contract.outputs import Task
from affect_dataset.samples import Sample
from affect_training import devices
from affect_training.errors import TrainingError
from affect_training.loop.tasks import usable
from affect_training.networks.joint import require_layer
from affect_training.recipes.recipe import FineTuning, Recipe, Watched

_WATCHED_TASK: Final = {Watched.ACCURACY: Task.CLASSIFICATION, Watched.CONCORDANCE: Task.REGRESSION}
"""The task that each watched measure belongs to."""


def require_trainable(recipe: Recipe, tasks: Sequence[Task], base: keras.Model | None) -> None:
    """Refuse a recipe that cannot train a network.

    Args:
        recipe: the figures of its training.
        tasks: what it is to be trained for.
        base: the pretrained base; None for a network that is trained from scratch.

    Raises:
        TrainingError: a layer, a loss or a measure is not there, or a batch cannot be divided.
    """
    devices.require_divisible(recipe.batch_size)
    if base is None or not isinstance(recipe, FineTuning):
        return
    if recipe.unfreeze_from is not None:
        require_layer(base, recipe.unfreeze_from)
    _require_losses(recipe, tasks)
    needed = _WATCHED_TASK.get(recipe.watch)
    if recipe.keeps_best and needed not in {None, *tasks}:
        raise TrainingError(f"watch = {recipe.watch} needs {needed}, which --tasks leaves out: watch {Watched.LOSS}")


def require_labels(tasks: Sequence[Task], samples: Sequence[Sample]) -> None:
    """Refuse a split that cannot teach a task.

    Raises:
        TrainingError: no picture has its labels.
    """
    for task in tasks:
        usable(task, samples)


def _require_losses(recipe: FineTuning, tasks: Sequence[Task]) -> None:
    if Task.REGRESSION in tasks and not (recipe.concordance or recipe.squared_error):
        raise TrainingError(
            "nothing teaches regression: concordance and squared_error are both 0; raise one, or leave it out"
        )
    if len(tasks) > 1 and not recipe.classification:
        raise TrainingError("nothing teaches classification: its weight is 0; raise it, or leave it out of --tasks")
