"""Batch-normalisation statistics for a backbone with random weights.

With its initial statistics (mean 0, variance 1) a random MobileNetV2 squeezes all pictures into the same
features. One pass over the training pictures in training mode, every batch weighing the same, gives each
normalisation layer the mean and variance of what really reaches it.
"""

from collections.abc import Sequence
from pathlib import Path

import keras
from tqdm import tqdm

from affect_training.features import BATCH_SIZE
from affect_training.inputs import Pictures, in_order


def calibrate(base: keras.Model, paths: Sequence[Path], saved: Path) -> None:
    """Set the batch-normalisation statistics of ``base`` from pictures, or from an earlier pass over them.

    Args:
        base: a base with random weights, changed in place.
        paths: the training pictures.
        saved: the weights file of an earlier pass; written where it is not there yet.
    """
    if saved.exists():
        base.load_weights(saved)
        return
    scaling, network = base.layers[1], base.layers[2]
    layers = [layer for layer in network._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]
    # A last, shorter batch would weigh as much as a full one; a set smaller than one batch has no other.
    order = [batch for batch in in_order(len(paths), BATCH_SIZE) if len(batch) == min(BATCH_SIZE, len(paths))]
    batches = Pictures(paths).batches(order)
    network.trainable = True  # a frozen normalisation layer ignores training mode
    for number, batch in enumerate(tqdm(batches, total=len(order), desc=f"{base.name} calibration", unit="batch")):
        for layer in layers:
            layer.momentum = number / (number + 1)
        network(scaling(batch), training=True)
    network.trainable = False
    _save(base, saved)


def _save(base: keras.Model, saved: Path) -> None:
    saved.parent.mkdir(parents=True, exist_ok=True)
    partial = saved.with_name(f".{saved.name}")
    base.save_weights(partial)
    partial.rename(saved)
