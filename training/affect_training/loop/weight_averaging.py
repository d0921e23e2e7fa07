"""The running mean of a network's weights (an exponential moving average), which its optimizer keeps."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
from numpy.typing import NDArray


@contextmanager
def averaged(model: keras.Model) -> Iterator[list[NDArray[Any]]]:
    """Put the mean in the place of the weights for a while, and give it."""
    last = model.get_weights()
    take_average(model)
    yield model.get_weights()
    model.set_weights(last)


def take_average(model: keras.Model) -> None:
    """Put the mean in the place of the weights for good."""
    model.optimizer.finalize_variable_values(model.trainable_variables)
    # On JAX the two now share their memory, which the next call would take from both.
    model.set_weights(model.get_weights())
