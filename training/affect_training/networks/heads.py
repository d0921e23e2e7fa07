"""The heads: small networks on a base's features, one for each task."""

from math import prod
from typing import Final

import keras

from affect_contract.outputs import Task, outputs_of
from affect_training.recipes.recipe import Recipe

_ACTIVATIONS: Final = {Task.CLASSIFICATION: "softmax", Task.REGRESSION: "linear"}
"""The activation of a head's last layer."""


def build_head(task: Task, feature_count: int, recipe: Recipe, *, seed: int) -> keras.Model:
    """Build Dense(hidden, ReLU) -> Dropout -> Dense.

    Args:
        task: decides the outputs: probabilities, [n, 8], or the scalars of regression as columns, [n, 2].
        feature_count: d of the base's features, float32 [n, d].
        recipe: hidden units and dropout.
        seed: decides the initial weights and the dropout masks.
    """
    features = keras.Input((feature_count,), name="features")
    initial = keras.initializers.GlorotUniform
    hidden = keras.layers.Dense(recipe.hidden_units, activation="relu", kernel_initializer=initial(seed))(features)
    dropped = keras.layers.Dropout(recipe.dropout, seed=seed)(hidden)
    outputs = keras.layers.Dense(head_units(task), activation=_ACTIVATIONS[task], kernel_initializer=initial(seed + 1))(
        dropped
    )
    return keras.Model(features, outputs, name=task.value)


def chain(base: keras.Model, head: keras.Model) -> keras.Model:
    """Join a base and a head into one network from pictures to the head's outputs; it shares the layers of both."""
    return keras.Model(base.input, head(base.output), name=f"{base.name}_{head.name}")


def head_units(task: Task) -> int:
    """Return how many numbers a head of this task gives for each picture."""
    return sum(prod(output.shape) for output in outputs_of(task))
