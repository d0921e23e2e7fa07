"""A backbone with its heads as one network, and how it is made ready to be trained."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from affect_contract.outputs import Task
from affect_contract.preprocess import SHAPE
from affect_training.errors import TrainingError
from affect_training.loop.tasks import TASKS
from affect_training.networks.backbones import parts
from affect_training.networks.folding import folded
from affect_training.recipes.recipe import FineTuning, TrainingPrecision


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


@contextmanager
def computing_in(precision: TrainingPrecision, base: keras.Model) -> Iterator[None]:
    """Let the layers of a base's network compute in another precision for a while; pooling and heads stay float32."""
    layers = parts(base)[1].layers
    before = [layer.dtype_policy for layer in layers]
    try:
        for layer in layers:
            layer.dtype_policy = precision.value
        yield
    finally:
        for layer, policy in zip(layers, before, strict=True):
            layer.dtype_policy = policy


def compile_joint(model: JointNetwork | keras.Model, tasks: Sequence[Task], recipe: FineTuning) -> None:
    """Give a network with an output for each task its losses, measures and optimizer."""
    trained = {task.value: TASKS[task] for task in tasks}
    model.compile(
        _optimizer(recipe),
        loss={name: task.joint_loss(recipe) for name, task in trained.items()},
        loss_weights={name: task.joint_weight(recipe) if len(tasks) > 1 else 1.0 for name, task in trained.items()},
        metrics={name: task.joint_metrics for name, task in trained.items()},
        # XLA's convolutions on a processor are several times slower than TensorFlow's own.
        jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
    )
    model(np.zeros((1, *SHAPE), np.float32))
    model.optimizer.build(model.trainable_variables)


def _optimizer(recipe: FineTuning) -> keras.optimizers.Optimizer:
    adam = keras.optimizers.Adam(
        recipe.learning_rate,
        weight_decay=recipe.weight_decay or None,
        use_ema=recipe.averaging > 0,
        ema_momentum=recipe.averaging,
    )
    adam.exclude_from_weight_decay(var_names=["bias", "beta", "gamma"])
    scaled = recipe.precision is TrainingPrecision.MIXED_FLOAT16
    return keras.optimizers.LossScaleOptimizer(adam) if scaled else adam
