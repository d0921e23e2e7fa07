"""The ways to train: heads on a frozen base's cached features, base and heads together, or a network from scratch."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import keras
import numpy as np

from affect_contract.backbones import BackboneName
from affect_contract.models import single
from affect_contract.outputs import Task
from affect_dataset.samples import Sample
from affect_training.features.cache import FeatureCache
from affect_training.features.extraction import extract
from affect_training.loop.batches import Inputs, Mirrored, Pictures
from affect_training.loop.checkpoint import best
from affect_training.loop.epochs import Epoch, Examples, predict, train
from affect_training.loop.fine_tuning import fine_tune
from affect_training.loop.targets import labels, usable, weights
from affect_training.loop.temperature import Calibration, apply, fitted
from affect_training.networks.backbones import build_base
from affect_training.networks.heads import build_head, chain
from affect_training.networks.joint import unfreeze
from affect_training.recipes.recipe import FineTuning, Recipe

_PREDICT_BATCH: Final = 64


@dataclass(frozen=True)
class Trained:
    """One network for one task, and how it came about."""

    backbone: BackboneName
    task: Task
    base: keras.Model
    head: keras.Model
    recipe: Recipe
    epochs: list[Epoch]
    kept: int
    """Index of the epoch whose weights were kept."""
    feature_seconds: float = 0.0
    """Spent on features in this run; those in the cache cost nothing."""
    pictures_extracted: int = 0
    calibration: Calibration | None = None
    """Of its logits; None where they were left as they were."""

    @property
    def training_seconds(self) -> float:
        """Time of all epochs, validation included, in seconds."""
        return sum(epoch["seconds"] for epoch in self.epochs)


@dataclass(frozen=True)
class Course:
    """What all networks of a run have in common."""

    training: Sequence[Sample]
    validation: Sequence[Sample]
    tasks: Sequence[Task]
    seed: int
    checkpoints: Path

    def sets(self, task: Task, recipe: Recipe, inputs: Callable[[list[Sample]], Inputs]) -> tuple[Examples, Examples]:
        """What a task trains on and what it is measured on."""
        training, validation = (usable(task, samples) for samples in (self.training, self.validation))
        targets = labels(task, training)
        return (
            Examples(inputs(training), targets, weights(task, recipe.class_weights, targets)),
            Examples(inputs(validation), labels(task, validation)),
        )

    def usable(self, samples: Sequence[Sample]) -> list[Sample]:
        """The samples that carry the labels of any task of the course."""
        return usable(Task.CLASSIFICATION if Task.CLASSIFICATION in self.tasks else Task.REGRESSION, samples)

    def checkpoint(self, backbone: BackboneName, task: Task) -> Path:
        """Where one network's training is saved."""
        return self.checkpoints / f"{single(backbone, task).name}.npz"


def train_heads(
    backbone: BackboneName, base: keras.Model, cache: FeatureCache, recipe: Recipe, course: Course
) -> list[Trained]:
    """Run the frozen base over each picture once, then train one head a task on what it gave."""
    started = time.perf_counter()
    extracted = extract(base, [*course.training, *course.validation], cache)
    seconds = time.perf_counter() - started if extracted else 0.0
    trained = []
    for task in course.tasks:
        head = build_head(task, base.output.shape[-1], recipe, seed=course.seed)
        sets = course.sets(task, recipe, lambda samples: cache.rows([sample.digest for sample in samples]))
        epochs = _train(head, backbone, task, recipe, sets, course)
        trained.append(Trained(backbone, task, base, head, recipe, epochs, _kept(epochs, recipe), seconds, extracted))
    return trained


def train_together(
    backbone: BackboneName, base: keras.Model, cache: FeatureCache, recipe: FineTuning, course: Course
) -> list[Trained]:
    """Warm the heads up on the frozen base's features, then train the base and all heads together."""
    if recipe.head_epochs:
        alone = Recipe(
            hidden_units=recipe.hidden_units,
            dropout=recipe.dropout,
            learning_rate=recipe.head_learning_rate,
            batch_size=recipe.batch_size,
            epochs=recipe.head_epochs,
            class_weights=recipe.class_weights,
        )
        warm = train_heads(backbone, base, cache, alone, course)
        heads = {one.task: one.head for one in warm}
        spent = {one.task: (one.feature_seconds, one.pictures_extracted) for one in warm}
    else:
        width = base.output.shape[-1]
        heads = {task: build_head(task, width, recipe, seed=course.seed) for task in course.tasks}
        spent = dict.fromkeys(course.tasks, (0.0, 0))
    unfreeze(base, recipe.unfreeze_from)
    learnt = [course.usable(part) for part in (course.training, course.validation)]
    tuned = fine_tune(
        base, heads, recipe, *learnt, seed=course.seed, checkpoint=course.checkpoints / f"{base.name}.npz"
    )
    calibrations: dict[Task, Calibration] = {}
    if Task.CLASSIFICATION in heads:
        calibrations[Task.CLASSIFICATION] = _calibrated(base, heads[Task.CLASSIFICATION], recipe, course)
    return [
        Trained(
            backbone, task, base, heads[task], recipe, tuned.epochs[task], tuned.kept, *spent[task],
            calibration=calibrations.get(task),
        )
        for task in course.tasks
    ]  # fmt: skip


def _calibrated(base: keras.Model, head: keras.Model, recipe: Recipe, course: Course) -> Calibration:
    """Set the temperature of a head from the validation split, seen as the exported graph will see it."""
    pictures = Pictures([sample.path for sample in course.validation])
    views: list[Inputs] = [pictures, Mirrored(pictures)] if recipe.test_time_flip else [pictures]
    network = chain(base, head)
    probabilities = np.stack([predict(network, view, batch_size=_PREDICT_BATCH) for view in views])
    calibration = fitted(probabilities, labels(Task.CLASSIFICATION, course.validation))
    apply(head, calibration.temperature)
    return calibration


def train_end_to_end(backbone: BackboneName, recipe: Recipe, course: Course) -> list[Trained]:
    """Train one whole network a task on the pictures themselves."""
    trained = []
    for task in course.tasks:
        base = build_base(backbone, seed=course.seed)
        head = build_head(task, base.output.shape[-1], recipe, seed=course.seed)
        sets = course.sets(task, recipe, lambda samples: Pictures([sample.path for sample in samples]))
        epochs = _train(chain(base, head), backbone, task, recipe, sets, course)
        trained.append(Trained(backbone, task, base, head, recipe, epochs, _kept(epochs, recipe)))
    return trained


def _kept(epochs: Sequence[Epoch], recipe: Recipe) -> int:
    return best(epochs) if recipe.restore_best else len(epochs) - 1


def _train(
    model: keras.Model,
    backbone: BackboneName,
    task: Task,
    recipe: Recipe,
    sets: tuple[Examples, Examples],
    course: Course,
) -> list[Epoch]:
    training, validation = sets
    return train(
        model,
        task,
        recipe,
        training,
        validation,
        seed=course.seed,
        checkpoint=course.checkpoint(backbone, task),
        description=single(backbone, task).name,
    )
