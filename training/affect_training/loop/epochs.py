"""The training loop of every network here: seeded, resumable after any epoch, the same on every Keras backend.

Each epoch's order of pictures and dropout masks follow from (seed, epoch) alone. So an interrupted run that
goes on from its last checkpoint gives the numbers that an uninterrupted one gives.
"""

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from affect_contract.labels import AFFECT_MAX, AFFECT_MIN
from affect_contract.outputs import Task
from affect_training import devices
from affect_training.loop.batches import Inputs, divisible, in_order, shuffled
from affect_training.loop.checkpoint import Checkpoint
from affect_training.recipes.recipe import Recipe

Epoch = dict[str, float]
"""The measures of one epoch by name, for example ``val_loss``."""

_LOSSES = {Task.CLASSIFICATION: "sparse_categorical_crossentropy", Task.REGRESSION: "mean_squared_error"}
_METRICS = {Task.CLASSIFICATION: "accuracy", Task.REGRESSION: "mean_absolute_error"}
_PREDICT_BATCH = 256


@dataclass(frozen=True)
class Examples:
    """Inputs with what is to be learnt from them."""

    inputs: Inputs
    labels: NDArray[Any]
    """int64 [n] expression ids, or float32 [n, 2] valence and arousal."""
    weights: NDArray[np.float32] | None = None
    """float32 [n], how much each example counts in the loss."""


def train(
    model: keras.Model,
    task: Task,
    recipe: Recipe,
    training: Examples,
    validation: Examples,
    *,
    seed: int,
    checkpoint: Path,
    description: str,
) -> list[Epoch]:
    """Train ``model`` in place.

    Args:
        model: inputs -> [n, 8] probabilities or [n, 2] valence and arousal.
        task: decides loss and measures.
        recipe: the figures of the training.
        training: what to learn from.
        validation: what each epoch is measured on.
        seed: decides order and dropout.
        checkpoint: a file to resume from and to save to after each epoch.
        description: what the progress bar calls this.

    Returns:
        The measures of every epoch, those before an interruption included.
    """
    model.compile(keras.optimizers.Adam(recipe.learning_rate), loss=_LOSSES[task], metrics=[_METRICS[task]])
    model.optimizer.build(model.trainable_variables)
    saved = Checkpoint(checkpoint, model)
    history = saved.restore()
    steps = -(-len(training.inputs) // recipe.batch_size)
    with tqdm(total=recipe.epochs * steps, initial=len(history) * steps, desc=description, unit="step") as bar:
        for epoch in range(len(history), recipe.epochs):
            started = time.perf_counter()
            measures = _train_epoch(model, recipe, training, seed=seed, epoch=epoch, step_done=bar.update)
            measures |= evaluate(model, task, validation)
            measures["seconds"] = time.perf_counter() - started
            history.append(measures)
            saved.save(history)
            bar.set_postfix({"loss": f"{measures['loss']:.4f}", "val_loss": f"{measures['val_loss']:.4f}"})
    if recipe.restore_best:
        saved.restore_best()
    return history


def predict(model: keras.Model, inputs: Inputs, *, batch_size: int = _PREDICT_BATCH) -> NDArray[np.float32]:
    """The model's outputs for every input, in order, float32 [n, ...]."""
    batches = inputs.batches(in_order(len(inputs), batch_size))
    return np.concatenate([np.asarray(devices.predict(model, batch), np.float32) for batch in batches])


def evaluate(model: keras.Model, task: Task, examples: Examples) -> Epoch:
    """The measures of a whole set at once: no mean of batch means, which a concordance would not survive."""
    return measured(task, examples.labels, predict(model, examples.inputs))


def measured(task: Task, labels: NDArray[Any], predicted: NDArray[np.float32]) -> Epoch:
    """The measures of predictions, [n, 8] probabilities or [n, 2] valence and arousal, against their labels."""
    if task is Task.CLASSIFICATION:
        losses = keras.losses.sparse_categorical_crossentropy(labels, predicted)
        return {"val_loss": _mean(losses), "val_accuracy": float(np.mean(predicted.argmax(axis=1) == labels))}
    errors = keras.losses.mean_squared_error(labels, predicted)
    clipped = np.clip(predicted, AFFECT_MIN, AFFECT_MAX)
    return {
        "val_loss": _mean(errors),
        "val_mean_absolute_error": float(np.abs(predicted - labels).mean()),
        "val_ccc_valence": _concordance(labels[:, 0], clipped[:, 0]),
        "val_ccc_arousal": _concordance(labels[:, 1], clipped[:, 1]),
    }


def _train_epoch(
    model: keras.Model,
    recipe: Recipe,
    training: Examples,
    *,
    seed: int,
    epoch: int,
    step_done: Callable[[], object],
) -> Epoch:
    seed_dropout(model, seed, epoch)
    order = divisible(shuffled(len(training.inputs), recipe.batch_size, seed=seed, epoch=epoch), devices.count())
    sums: dict[str, float] = defaultdict(float)
    for indices, batch in zip(order, training.inputs.batches(order), strict=True):
        weights = None if training.weights is None else training.weights[indices]
        measures = model.train_on_batch(batch, training.labels[indices], weights, return_dict=True)
        for name, value in measures.items():
            sums[name] += float(value) * len(indices)
        step_done()
    return {name: total / sum(map(len, order)) for name, total in sums.items()}


def seed_dropout(model: keras.Model, seed: int, epoch: int) -> None:
    """Make the dropout masks of an epoch follow from seed and epoch alone."""
    generators = [getattr(layer, "seed_generator", None) for layer in model._flatten_layers()]
    for number, generator in enumerate(filter(None, generators)):
        # The state is a pair of numbers in the backend's integer type; masks depend on both.
        state = np.random.default_rng((seed, epoch, number)).integers(0, 2**31, size=2)
        generator.state.assign(state.astype(keras.backend.standardize_dtype(generator.state.dtype)))


def _concordance(true: NDArray[np.float32], predicted: NDArray[np.float32]) -> float:
    # Keras's metric averages over its updates, so it is given the whole set in one.
    return float(keras.metrics.ConcordanceCorrelation(axis=0)(true, predicted))


def _mean(values: Any) -> float:
    return float(keras.ops.convert_to_numpy(values).mean())
