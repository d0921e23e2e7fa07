"""A backbone and its heads trained together on augmented pictures.

As in `loop`, each epoch follows from (seed, epoch) alone: order, changes to the pictures, their mixture, dropout. So an
interrupted run that goes on from its last checkpoint gives the numbers that an uninterrupted one gives.
"""

import math
import time
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from affect_contract.labels import LABELS
from affect_contract.models import Task
from affect_contract.preprocess import SHAPE
from affect_dataset.samples import Sample
from affect_training.backbones import parts
from affect_training.checkpoint import Checkpoint
from affect_training.errors import TrainingError
from affect_training.examples import weights
from affect_training.folding import folded
from affect_training.inputs import Pictures, in_order, read_picture, shuffled
from affect_training.loop import Epoch, measured, seed_dropout
from affect_training.losses import AffectLoss, SmoothedCrossEntropy
from affect_training.recipe import FineTuning

_PREPARERS: Final = 4
_BATCHES_AHEAD: Final = 3
_PREDICT_BATCH: Final = 64
_LOWEST: Final = 0.01
"""Of the learning rate, at the end of its cosine."""

Targets = dict[str, NDArray[np.float32]]
"""By task: weighted one-hot expressions [n, 8]; valence, arousal and whether they are known [n, 3]."""


class JointNetwork(keras.Model):  # type: ignore[misc]
    """A base with its heads: pictures, uint8 or float32 [n, h, w, 3] in [0, 255], to each head's outputs by task.

    Batch normalisation stays in inference mode, so the base is run folded; its weights are the base's own.
    """

    def __init__(self, base: keras.Model, heads: Mapping[Task, keras.Model]) -> None:
        super().__init__(name=f"{base.name}_joint")
        self._scaling, self._network, self._pooling = parts(base)
        self._maps = folded(self._network)
        self._heads = {task.value: head for task, head in heads.items()}

    def call(self, images: Any, training: bool = False) -> dict[str, Any]:
        """Each head's outputs by task."""
        features = self._pooling(self._maps(self._scaling(images)))
        return {task: head(features, training=training) for task, head in self._heads.items()}


def require_layer(base: keras.Model, name: str) -> None:
    """Refuse to unfreeze a base from a layer that it does not have.

    Raises:
        TrainingError: there is no such layer.
    """
    names = [layer.name for layer in parts(base)[1].layers]
    if name not in names:
        blocks = sorted({name.rsplit("_", 1)[0] for name in names if name.startswith(("block", "conv"))})
        raise TrainingError(
            f"{base.name} has no layer {name!r} to unfreeze from; its layers begin with, for example, "
            f"{', '.join(blocks[:3])} ... {', '.join(blocks[-2:])}"
        )


def unfreeze(base: keras.Model, first: str | None) -> None:
    """Let a base be trained from its layer ``first`` on, or wholly."""
    network = parts(base)[1]
    names = [layer.name for layer in network.layers]
    base.trainable = True
    for layer in network.layers[: names.index(first) if first else 0]:
        layer.trainable = False


@dataclass(frozen=True)
class _Lessons:
    """The pictures of one epoch, changed and mixed, batch by batch."""

    samples: Sequence[Sample]
    targets: Targets
    recipe: FineTuning
    seed: int

    def batches(self, epoch: int) -> Iterator[tuple[NDArray[np.float32], Targets]]:
        order = shuffled(len(self.samples), self.recipe.batch_size, seed=self.seed, epoch=epoch)
        with ThreadPoolExecutor(_PREPARERS, thread_name_prefix="augment") as pool:
            ahead: deque[tuple[NDArray[np.intp], list[Future[Any]]]] = deque()
            for number, indices in enumerate(order):
                ahead.append((indices, [pool.submit(self._picture, int(index), epoch) for index in indices]))
                if len(ahead) > _BATCHES_AHEAD:
                    yield self._mixed(*ahead.popleft(), epoch, number - _BATCHES_AHEAD)
            for number in range(len(order) - len(ahead), len(order)):
                yield self._mixed(*ahead.popleft(), epoch, number)

    def _picture(self, index: int, epoch: int) -> NDArray[np.float32]:
        generator = np.random.default_rng((self.seed, epoch, index))
        side = self.recipe.side(epoch + 1)
        return self.recipe.augmentation.apply(read_picture(self.samples[index].path), generator, side)

    def _mixed(
        self, indices: NDArray[np.intp], pictures: list[Future[Any]], epoch: int, number: int
    ) -> tuple[NDArray[np.float32], Targets]:
        batch = np.stack([picture.result() for picture in pictures])
        targets = {task: rows[indices] for task, rows in self.targets.items()}
        if not self.recipe.mixup:
            return batch, targets
        generator = np.random.default_rng((self.seed, epoch, number, len(self.samples)))
        share = np.array(generator.beta(self.recipe.mixup, self.recipe.mixup), np.float32)
        other = generator.permutation(len(batch))
        mixed = {task: share * rows + (1 - share) * rows[other] for task, rows in targets.items()}
        if Task.REGRESSION in targets:  # half of an unknown value is unknown
            known = targets[Task.REGRESSION][:, 2]
            mixed[Task.REGRESSION][:, 2] = np.minimum(known, known[other])
        return share * batch + (1 - share) * batch[other], mixed


def fine_tune(
    base: keras.Model,
    heads: Mapping[Task, keras.Model],
    recipe: FineTuning,
    training: Sequence[Sample],
    validation: Sequence[Sample],
    *,
    seed: int,
    checkpoint: Path,
) -> dict[Task, list[Epoch]]:
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
        For each task the measures of every epoch, those before an interruption included.
    """
    model = JointNetwork(base, heads)
    tasks = tuple(heads)
    compile_joint(model, tasks, recipe)
    targets = _targets(tasks, training, recipe)
    lessons = _Lessons(training, targets, recipe, seed)
    saved = Checkpoint(checkpoint, model)
    history: list[dict[str, float]] = saved.restore()
    steps = -(-len(training) // recipe.batch_size)
    with tqdm(total=recipe.epochs * steps, initial=len(history) * steps, desc=model.name, unit="step") as bar:
        for epoch in range(len(history), recipe.epochs):
            started = time.perf_counter()
            seed_dropout(model, seed, epoch)
            sums: dict[str, float] = defaultdict(float)
            for number, (batch, labels) in enumerate(lessons.batches(epoch)):
                model.optimizer.learning_rate = _learning_rate(recipe, epoch * steps + number, recipe.epochs * steps)
                for name, value in model.train_on_batch(batch, labels, return_dict=True).items():
                    sums[name] += float(value) * len(batch)
                bar.update()
            measures = {name: total / len(training) for name, total in sums.items()}
            measures |= _validation(model, tasks, recipe, validation)
            measures["seconds"] = time.perf_counter() - started
            history.append(measures)
            saved.save(history)
            bar.set_postfix({"loss": f"{measures['loss']:.3f}", "val_loss": f"{measures['val_loss']:.3f}"})
    if recipe.averaging:
        model.optimizer.finalize_variable_values(model.trainable_variables)
        history[-1] |= _validation(model, tasks, recipe, validation)
    return {task: [_of_task(task, epoch) for epoch in history] for task in tasks}


def compile_joint(model: keras.Model, tasks: Sequence[Task], recipe: FineTuning) -> None:
    """Give a network with an output for each task its losses, measures and optimizer."""
    losses = {
        Task.CLASSIFICATION: SmoothedCrossEntropy(recipe.label_smoothing),
        Task.REGRESSION: AffectLoss(recipe.concordance, recipe.squared_error),
    }
    measures = {
        Task.CLASSIFICATION: [keras.metrics.CategoricalAccuracy(name="accuracy")],
        Task.REGRESSION: [],
    }
    model.compile(
        keras.optimizers.Adam(
            recipe.learning_rate, use_ema=recipe.averaging > 0, ema_momentum=recipe.averaging or 0.99
        ),
        loss={task.value: losses[task] for task in tasks},
        loss_weights={
            task.value: recipe.classification if task is Task.CLASSIFICATION and len(tasks) > 1 else 1.0
            for task in tasks
        },
        metrics={task.value: measures[task] for task in tasks},
        # XLA's convolutions on a processor are several times slower than TensorFlow's own.
        jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
    )
    model(np.zeros((1, *SHAPE), np.float32))
    model.optimizer.build(model.trainable_variables)


def _targets(tasks: Sequence[Task], samples: Sequence[Sample], recipe: FineTuning) -> Targets:
    targets: Targets = {}
    if Task.CLASSIFICATION in tasks:
        expressions = np.array([sample.expression for sample in samples], np.int64)
        share = weights(Task.CLASSIFICATION, recipe.class_weights, expressions)
        one_hot = np.eye(len(LABELS), dtype=np.float32)[expressions]
        targets[Task.CLASSIFICATION.value] = one_hot if share is None else one_hot * share[:, None]
    if Task.REGRESSION in tasks:
        rows = [(s.valence, s.arousal, 1.0) if s.valence is not None else (0.0, 0.0, 0.0) for s in samples]
        targets[Task.REGRESSION.value] = np.array(rows, np.float32)
    return targets


def _learning_rate(recipe: FineTuning, step: int, steps: int) -> float:
    """A straight rise, then half a cosine (Loshchilov and Hutter, 2017, arXiv:1608.03983)."""
    rising = recipe.warmup * steps
    if step < rising:
        return recipe.learning_rate * (step + 1) / (rising + 1)
    falling = 0.5 * (1 + math.cos(math.pi * (step - rising) / (steps - rising)))
    return recipe.learning_rate * (_LOWEST + (1 - _LOWEST) * falling)


def _validation(model: JointNetwork, tasks: Sequence[Task], recipe: FineTuning, samples: Sequence[Sample]) -> Epoch:
    batches = Pictures([sample.path for sample in samples]).batches(in_order(len(samples), _PREDICT_BATCH))
    answers = [model.predict_on_batch(batch) for batch in batches]
    measures: Epoch = {"val_loss": 0.0}
    for task in tasks:
        predicted = np.concatenate([np.asarray(answer[task.value], np.float32) for answer in answers])
        known = np.array([task is Task.CLASSIFICATION or sample.valence is not None for sample in samples])
        labels = _targets([task], samples, recipe)[task.value]
        if task is Task.CLASSIFICATION:
            found = measured(task, labels.argmax(axis=1), predicted)
        else:
            found = measured(task, labels[known, :2], predicted[known])
            lacking = 1 - (found["val_ccc_valence"] + found["val_ccc_arousal"]) / 2
            found["val_loss"] = recipe.concordance * lacking + recipe.squared_error * found["val_loss"]
        measures["val_loss"] += found["val_loss"]
        measures |= {f"{task}_{name}": value for name, value in found.items()}
    return measures


def _of_task(task: Task, epoch: Epoch) -> Epoch:
    """One task's measures, by the names that `loop` gives them; the time is that of both."""
    own = {name.removeprefix(f"{task}_"): value for name, value in epoch.items() if name.startswith(f"{task}_")}
    return {"loss": epoch["loss"], **own, "seconds": epoch["seconds"]}
