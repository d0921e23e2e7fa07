"""A network trained for one task at a constant rate: a head on cached features, or a whole network from scratch."""

from pathlib import Path

import keras

from affect_contract.outputs import Task
from affect_training.loop.batches import Examples
from affect_training.loop.early_stopping import EarlyStopping
from affect_training.loop.schedule import constant
from affect_training.loop.tasks import TASKS
from affect_training.loop.training_loop import History, Training, train
from affect_training.loop.validation import Epoch, predict
from affect_training.recipes.recipe import Recipe


def train_one_task(
    model: keras.Model,
    task: Task,
    recipe: Recipe,
    training: Examples,
    validation: Examples,
    *,
    seed: int,
    checkpoint: Path,
    description: str,
) -> History:
    """Train ``model``, inputs -> [n, 8] probabilities or [n, 2] valence and arousal, in place; see `train`."""
    optimizer = keras.optimizers.Adam(recipe.learning_rate)
    model.compile(optimizer, loss=TASKS[task].loss, metrics=TASKS[task].metrics)
    optimizer.build(model.trainable_variables)
    plan = Training(
        data=training,
        validate=lambda: evaluate(model, task, validation),
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        schedule=constant(recipe.learning_rate),
        seed=seed,
        stopping=EarlyStopping(keeps_best=recipe.restore_best),
    )
    return train(model, plan, checkpoint, description)


def evaluate(model: keras.Model, task: Task, examples: Examples) -> Epoch:
    """The measures of a network for one task."""
    return TASKS[task].measures(examples.labels, predict(model, examples.inputs))
