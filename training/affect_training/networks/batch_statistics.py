"""Batch-normalisation statistics for a backbone with random weights.

With its initial statistics (mean 0, variance 1) a random MobileNetV2 squeezes all pictures into the same
features. One pass over the training pictures in training mode, every batch weighing the same, gives each
normalisation layer the mean and variance of what really reaches it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
from tqdm import tqdm

from affect_training import devices
from affect_training.features.extraction import BATCH_SIZE
from affect_training.loop.batches import Pictures, divisible, in_order
from affect_training.networks.backbones import parts


def estimate_batch_statistics(base: keras.Model, paths: Sequence[Path], saved: Path) -> None:
    """Set the batch-normalisation statistics of ``base`` from pictures, or from an earlier pass over them.

    Args:
        base: a base with random weights, changed in place.
        paths: the training pictures.
        saved: the weights file of an earlier pass; written where it is not there yet.
    """
    if saved.exists():
        base.load_weights(saved)
        return
    scaling, network, _ = parts(base)
    layers = [layer for layer in network._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]
    # A last, shorter batch would weigh as much as a full one; a set smaller than one batch has no other.
    batches = [batch for batch in in_order(len(paths), BATCH_SIZE) if len(batch) == min(BATCH_SIZE, len(paths))]
    order = divisible(batches, devices.count())
    variables = [variable for layer in layers for variable in (layer.moving_mean, layer.moving_variance)]
    sums = [np.zeros(variable.shape) for variable in variables]
    with _recording(network, layers):
        recorder = _TrainingMode(scaling, network)
        for batch in tqdm(Pictures(paths).batches(order), total=len(order), desc=f"{base.name} batch statistics"):
            recorder.predict_on_batch(batch)
            for number, variable in enumerate(variables):
                sums[number] += keras.ops.convert_to_numpy(variable)
    for variable, total in zip(variables, sums, strict=True):
        variable.assign(total / len(order))
    _save(base, saved)


class _TrainingMode(keras.Model):  # type: ignore[misc]
    """Runs a network in training mode even to predict, which a functional model would not."""

    def __init__(self, scaling: keras.layers.Layer, network: keras.Model) -> None:
        super().__init__(name="training_mode")
        self._scaling = scaling
        self._network = network

    def call(self, images: Any) -> Any:
        """The network's maps of uint8 [n, 224, 224, 3] pictures."""
        return self._network(self._scaling(images), training=True)


@contextmanager
def _recording(network: keras.Model, layers: Sequence[keras.layers.Layer]) -> Iterator[None]:
    """Have each normalisation layer's statistics be those of the last batch alone."""
    momenta = [layer.momentum for layer in layers]
    network.trainable = True  # a frozen normalisation layer ignores training mode
    for layer in layers:
        layer.momentum = 0.0
    try:
        yield
    finally:
        network.trainable = False
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum


def _save(base: keras.Model, saved: Path) -> None:
    saved.parent.mkdir(parents=True, exist_ok=True)
    partial = saved.with_name(f".{saved.name}")
    base.save_weights(partial)
    partial.rename(saved)
