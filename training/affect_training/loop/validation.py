"""The measures of an epoch: answers for the validation split against its labels, the whole split at once."""

from typing import Any, Final

import keras
import numpy as np
from numpy.typing import NDArray

from affect_contract.outputs import SCALARS
from affect_training import devices
from affect_training.loop.batches import Inputs, in_order

Epoch = dict[str, float]
"""The measures of one epoch by name, for example ``val_loss``."""

_BATCH: Final = 256
PICTURES_BATCH: Final = 64
"""Pictures that a pretrained backbone looks at in one batch."""


def predict(model: keras.Model, inputs: Inputs, *, batch_size: int = _BATCH) -> Any:
    """A network's outputs for every input, in order: float32 [n, ...], or a dictionary of such where it has several."""
    answers = [devices.predict(model, batch) for batch in inputs.batches(in_order(len(inputs), batch_size))]
    return keras.tree.map_structure(lambda *parts: np.concatenate([np.asarray(a, np.float32) for a in parts]), *answers)


def expression_measures(labels: NDArray[np.int64], probabilities: NDArray[np.float32]) -> Epoch:
    """Cross-entropy and accuracy of probabilities, [n, 8], of expression ids, [n]."""
    losses = keras.losses.sparse_categorical_crossentropy(labels, probabilities)
    return {"val_loss": _mean(losses), "val_accuracy": float(np.mean(probabilities.argmax(axis=1) == labels))}


def affect_measures(labels: NDArray[np.float32], predicted: NDArray[np.float32]) -> Epoch:
    """Errors of valence and arousal, [n, 2], and the concordance of each, clipped as answers are."""
    found = {
        "val_loss": _mean(keras.losses.mean_squared_error(labels, predicted)),
        "val_mean_absolute_error": float(np.abs(predicted - labels).mean()),
    }
    for scalar, true, given in zip(SCALARS, labels.T, predicted.T, strict=True):
        found[f"val_ccc_{scalar.name}"] = _concordance(true, np.clip(given, scalar.low, scalar.high))
    return found


def mean_concordance(measures: Epoch, prefix: str = "") -> float:
    """The mean over all scalars, of measures whose names begin with ``prefix``."""
    return sum(measures[f"{prefix}val_ccc_{scalar.name}"] for scalar in SCALARS) / len(SCALARS)


def _concordance(true: NDArray[np.float32], predicted: NDArray[np.float32]) -> float:
    # Keras's metric averages over its updates, so it is given the whole set in one.
    return float(keras.metrics.ConcordanceCorrelation(axis=0)(true, predicted))


def _mean(values: Any) -> float:
    return float(keras.ops.convert_to_numpy(values).mean())
