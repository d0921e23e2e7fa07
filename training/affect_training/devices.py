"""Several accelerators of one machine, with every batch divided among them.

Keras's distribution API does it, on its JAX backend; on every other backend training runs on one accelerator.
"""

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from affect_training.errors import TrainingError


def use_all() -> int:
    """Let every network built from now on train on all accelerators; gives how many there are.

    On the processor alone there is one, unless JAX was told to show several.
    """
    if keras.backend.backend() != "jax":
        return 1
    devices = keras.distribution.list_devices()
    if len(devices) > 1:
        keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices))
    return len(devices)


def count() -> int:
    """How many accelerators share each batch."""
    distribution = keras.distribution.distribution()
    return 1 if distribution is None else int(np.prod(distribution.device_mesh.shape))


def require_divisible(batch_size: int) -> None:
    """Refuse a batch that cannot be divided evenly.

    Raises:
        TrainingError: it cannot.
    """
    devices = count()
    if batch_size % devices:
        raise TrainingError(
            f"batches of {batch_size} cannot be divided among {devices} accelerators: give a --batch-size that is a "
            f"multiple of {devices}"
        )


def predict(model: keras.Model, batch: NDArray[Any]) -> Any:
    """A model's answer for one batch of any size: what is missing to an even division is filled up and left out."""
    missing = -len(batch) % count()
    if not missing:
        return model.predict_on_batch(batch)
    full = np.concatenate([batch, np.zeros((missing, *batch.shape[1:]), batch.dtype)])
    return keras.tree.map_structure(lambda rows: rows[: len(batch)], model.predict_on_batch(full))
