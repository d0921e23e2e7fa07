"""A backbone and its heads trained together on augmented pictures.

As in `loop`, each epoch follows from (seed, epoch) alone: order, changes to the pictures, their mixture, dropout. So an
interrupted run that goes on from its last checkpoint gives the numbers that an uninterrupted one gives.
"""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import keras
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from affect_contract.outputs import Task
from affect_dataset.samples import Sample
from affect_training import devices
from affect_training.loop.augmented_batches import Lessons, targets_of
from affect_training.loop.batches import Pictures, in_order
from affect_training.loop.checkpoint import Checkpoint, best, least_loss
from affect_training.loop.epochs import Epoch, measured, seed_dropout
from affect_training.networks.joint import JointNetwork, compile_joint, computing_in
from affect_training.recipes.recipe import FineTuning, Watched

_PREDICT_BATCH: Final = 64


class Tuned(NamedTuple):
    """How a network came about."""

    epochs: dict[Task, list[Epoch]]
    """For each task the measures of every epoch."""
    kept: int
    """Index of the epoch whose weights the network has."""


def fine_tune(
    base: keras.Model,
    heads: Mapping[Task, keras.Model],
    recipe: FineTuning,
    training: Sequence[Sample],
    validation: Sequence[Sample],
    *,
    seed: int,
    checkpoint: Path,
) -> Tuned:
    """Train a base and its heads in place.

    Args:
        base: a pretrained base, made trainable by `unfreeze`.
        heads: the head of each task to train for; one on its own is trained on the loss of its task.
        recipe: the figures of the training.
        training: what to learn from.
        validation: what each epoch is measured on, at full size and unchanged.
        seed: decides order, changes and dropout.
        checkpoint: a file to resume from and to save to after each epoch.

    Returns:
        The measures of every epoch, those before an interruption included, and which of them was kept.
    """
    tasks = tuple(heads)
    score = _scores()[recipe.watch]
    with computing_in(recipe.precision, base):
        model = JointNetwork(base, heads)
        compile_joint(model, tasks, recipe)
        lessons = Lessons(training, targets_of(tasks, training, recipe), recipe, seed, devices.count())
        saved = Checkpoint(checkpoint, model, score)
        history: list[Epoch] = saved.restore()
        steps = lessons.steps()
        with tqdm(total=recipe.epochs * steps, initial=len(history) * steps, desc=model.name, unit="step") as bar:
            while len(history) < recipe.epochs and not _stalled(history, recipe.patience, score):
                started = time.perf_counter()
                measures = _train_epoch(model, lessons, len(history), step_done=bar.update)
                with _mean_in_place(model, recipe) as mean:
                    measures |= _validation(model, tasks, recipe, validation)
                measures["seconds"] = time.perf_counter() - started
                history.append(measures)
                saved.save(history, mean)
                bar.set_postfix({"loss": f"{measures['loss']:.3f}", "val_loss": f"{measures['val_loss']:.3f}"})
        if recipe.keeps_best:
            saved.restore_best()
        elif recipe.averaging:
            _take_mean(model)
    kept = best(history, score) if recipe.keeps_best else len(history) - 1
    return Tuned({task: [_of_task(task, epoch) for epoch in history] for task in tasks}, kept)


def _train_epoch(model: JointNetwork, lessons: Lessons, epoch: int, *, step_done: Callable[[], object]) -> Epoch:
    seed_dropout(model, lessons.seed, epoch)
    recipe, steps = lessons.recipe, lessons.steps()
    sums: dict[str, float] = defaultdict(float)
    pictures = 0
    for number, (batch, labels) in enumerate(lessons.batches(epoch)):
        model.optimizer.learning_rate = _learning_rate(recipe, epoch * steps + number, recipe.epochs * steps)
        for name, value in model.train_on_batch(batch, labels, return_dict=True).items():
            sums[name] += float(value) * len(batch)
        pictures += len(batch)
        step_done()
    return {name: total / pictures for name, total in sums.items()}


@contextmanager
def _mean_in_place(model: JointNetwork, recipe: FineTuning) -> Iterator[list[NDArray[Any]] | None]:
    """The running mean of the weights in their place while it is looked at, where one is kept; gives it."""
    if not recipe.averaging:
        yield None
        return
    last = model.get_weights()
    _take_mean(model)
    yield model.get_weights()
    model.set_weights(last)


def _take_mean(model: JointNetwork) -> None:
    model.optimizer.finalize_variable_values(model.trainable_variables)
    # On JAX the two now share their memory, which the next call would take from both.
    model.set_weights(model.get_weights())


def _learning_rate(recipe: FineTuning, step: int, steps: int) -> float:
    """A straight rise, then half a cosine (Loshchilov and Hutter, 2017, arXiv:1608.03983)."""
    rising = recipe.warmup * steps
    if step < rising:
        return recipe.learning_rate * (step + 1) / (rising + 1)
    falling = 0.5 * (1 + math.cos(math.pi * (step - rising) / (steps - rising)))
    return recipe.learning_rate * (recipe.final_share + (1 - recipe.final_share) * falling)


def _scores() -> dict[Watched, Callable[[Epoch], float]]:
    """How good an epoch of the whole network is, by what is watched."""

    def concordance(epoch: Epoch) -> float:
        return (epoch[f"{Task.REGRESSION}_val_ccc_valence"] + epoch[f"{Task.REGRESSION}_val_ccc_arousal"]) / 2

    return {
        Watched.LOSS: least_loss,
        Watched.ACCURACY: lambda epoch: epoch[f"{Task.CLASSIFICATION}_val_accuracy"],
        Watched.CONCORDANCE: concordance,
    }


def _stalled(history: Sequence[Epoch], patience: int, score: Callable[[Epoch], float]) -> bool:
    """Whether the last ``patience`` epochs brought nothing better than what was before."""
    scores = [score(epoch) for epoch in history]
    return 0 < patience < len(scores) and max(scores[-patience:]) <= max(scores[:-patience])


def _validation(model: JointNetwork, tasks: Sequence[Task], recipe: FineTuning, samples: Sequence[Sample]) -> Epoch:
    batches = Pictures([sample.path for sample in samples]).batches(in_order(len(samples), _PREDICT_BATCH))
    answers = [devices.predict(model, batch) for batch in batches]
    measures: Epoch = {"val_loss": 0.0}
    for task in tasks:
        predicted = np.concatenate([np.asarray(answer[task.value], np.float32) for answer in answers])
        known = np.array([task is Task.CLASSIFICATION or sample.valence is not None for sample in samples])
        labels = targets_of([task], samples, recipe)[task.value]
        found = _measured(task, labels[known], predicted[known], recipe)
        measures["val_loss"] += found["val_loss"]
        measures |= {f"{task}_{name}": value for name, value in found.items()}
    return measures


def _measured(task: Task, targets: NDArray[np.float32], predicted: NDArray[np.float32], recipe: FineTuning) -> Epoch:
    """One task's measures, with the loss that the recipe trains it on, but without smoothing."""
    if task is Task.CLASSIFICATION:
        return measured(task, targets.argmax(axis=1), predicted)
    found = measured(task, targets[:, :2], predicted)
    lacking = 1 - (found["val_ccc_valence"] + found["val_ccc_arousal"]) / 2
    return found | {"val_loss": recipe.concordance * lacking + recipe.squared_error * found["val_loss"]}


def _of_task(task: Task, epoch: Epoch) -> Epoch:
    """One task's measures, by the names that `loop` gives them; the time is that of both."""
    own = {name.removeprefix(f"{task}_"): value for name, value in epoch.items() if name.startswith(f"{task}_")}
    return {"loss": epoch["loss"], **own, "seconds": epoch["seconds"]}
