"""The ways to train: heads on a frozen base's cached features, base and heads together, or a network from scratch."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np

from affect_contract.backbones import BackboneName
from affect_contract.models import single
from affect_contract.outputs import Task
from affect_dataset.samples import Sample
from affect_training.features.cache import FeatureCache
from affect_training.features.extraction import extract
from affect_training.loop.batches import Examples, Inputs, Mirrored, Pictures
from affect_training.loop.fine_tuning import fine_tune
from affect_training.loop.one_task import train_one_task
from affect_training.loop.tasks import TASKS, usable
from affect_training.loop.temperature import Calibration, apply, fitted
from affect_training.loop.validation import PICTURES_BATCH, Epoch, predict
from affect_training.networks.backbones import build_base
from affect_training.networks.heads import build_head, chain
from affect_training.networks.joint import unfreeze
from affect_training.recipes.recipe import FineTuning, Recipe


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
        """The examples that a task trains on and those that it is measured on."""
        training, validation = (usable(task, samples) for samples in (self.training, self.validation))
        labels, known = (TASKS[task].labels(samples) for samples in (training, validation))
        weights = TASKS[task].weights(labels, recipe.class_weights)
        return Examples(inputs(training), labels, weights), Examples(inputs(validation), known)

    def usable(self, samples: Sequence[Sample]) -> list[Sample]:
        """The samples that carry the labels of any task of the course."""
        return [sample for sample in samples if any(TASKS[task].has_labels(sample) for task in self.tasks)]


def train_heads(
    backbone: BackboneName, base: keras.Model, cache: FeatureCache, recipe: Recipe, course: Course
) -> list[Trained]:
    """Run the frozen base over each picture once, then train one head a task on the features."""

    def features(samples: Sequence[Sample]) -> Inputs:
        return cache.rows([sample.digest for sample in samples])

    started = time.perf_counter()
    extracted = extract(base, [*course.training, *course.validation], cache)
    seconds = time.perf_counter() - started if extracted else 0.0
    networks = [_untrained(backbone, task, base, recipe, course) for task in course.tasks]
    trained = [_train_alone(one, one.head, features, course) for one in networks]
    return [replace(one, feature_seconds=seconds, pictures_extracted=extracted) for one in trained]


def train_together(
    backbone: BackboneName, base: keras.Model, cache: FeatureCache, recipe: FineTuning, course: Course
) -> list[Trained]:
    """Warm the heads up on the frozen base's features, then train the base and all heads together."""
    if recipe.head_epochs:
        networks = train_heads(backbone, base, cache, _warm_up(recipe), course)
    else:
        networks = [_untrained(backbone, task, base, recipe, course) for task in course.tasks]
    heads = {one.task: one.head for one in networks}
    unfreeze(base, recipe.unfreeze_from)
    samples = [course.usable(part) for part in (course.training, course.validation)]
    checkpoint = course.checkpoints / f"{base.name}.npz"
    tuned = fine_tune(base, heads, recipe, *samples, seed=course.seed, checkpoint=checkpoint)
    trained = [replace(one, recipe=recipe, **tuned[one.task]._asdict()) for one in networks]
    return [_calibrated(one, course) if one.task is Task.CLASSIFICATION else one for one in trained]


def train_end_to_end(backbone: BackboneName, recipe: Recipe, course: Course) -> list[Trained]:
    """Train one whole network a task on the pictures themselves."""
    trained = []
    for task in course.tasks:
        one = _untrained(backbone, task, build_base(backbone, seed=course.seed), recipe, course)
        trained.append(_train_alone(one, chain(one.base, one.head), _pictures, course))
    return trained


def _untrained(backbone: BackboneName, task: Task, base: keras.Model, recipe: Recipe, course: Course) -> Trained:
    head = build_head(task, base.output.shape[-1], recipe, seed=course.seed)
    return Trained(backbone, task, base, head, recipe, epochs=[], kept=-1)


def _train_alone(
    one: Trained, model: keras.Model, inputs: Callable[[Sequence[Sample]], Inputs], course: Course
) -> Trained:
    """Train the head of a network, or all of it, as ``model``."""
    name = single(one.backbone, one.task).name
    sets = course.sets(one.task, one.recipe, inputs)
    checkpoint = course.checkpoints / f"{name}.npz"
    history = train_one_task(
        model, one.task, one.recipe, *sets, seed=course.seed, checkpoint=checkpoint, description=name
    )
    return replace(one, **history._asdict())


def _warm_up(recipe: FineTuning) -> Recipe:
    """The recipe of the heads alone, before the base is trained with them."""
    return Recipe(
        hidden_units=recipe.hidden_units,
        dropout=recipe.dropout,
        learning_rate=recipe.head_learning_rate,
        batch_size=recipe.batch_size,
        epochs=recipe.head_epochs,
        class_weights=recipe.class_weights,
    )


def _pictures(samples: Sequence[Sample]) -> Pictures:
    return Pictures([sample.path for sample in samples])


def _calibrated(one: Trained, course: Course) -> Trained:
    """Set the temperature of a head from the validation split, seen as the exported graph will see it."""
    pictures = _pictures(course.validation)
    views: list[Inputs] = [pictures, Mirrored(pictures)] if one.recipe.test_time_flip else [pictures]
    network = chain(one.base, one.head)
    probabilities = np.stack([predict(network, view, batch_size=PICTURES_BATCH) for view in views])
    calibration = fitted(probabilities, TASKS[one.task].labels(course.validation))
    apply(one.head, calibration.temperature)
    return replace(one, calibration=calibration)
