"""The state of a training run after an epoch, in one file that is whole or not there."""

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
from numpy.typing import NDArray

from affect_contract.atomic_files import write_atomically
from affect_training.loop.validation import Epoch

_HISTORY: Final = "history"
_BEST: Final = "best"


class Checkpoint:
    """Weights, optimizer state, best weights so far and history of one model in training.

    Args:
        path: the file.
        model: the model, its optimizer built.
        best: finds the index of the best epoch in a history.
    """

    def __init__(self, path: Path, model: keras.Model, best: Callable[[Sequence[Epoch]], int]) -> None:
        self._path = path
        self._model = model
        self._best_epoch = best
        self._best_weights: list[NDArray[Any]] = model.get_weights()

    def restore(self) -> list[Epoch]:
        """Bring the model back to its last saved epoch.

        Returns:
            The measures of the epochs done; empty where nothing was saved.
        """
        if not self._path.exists():
            return []
        with np.load(self._path, allow_pickle=False) as arrays:
            self._model.set_weights(_unnumbered(arrays, "weight"))
            self._best_weights = _unnumbered(arrays, _BEST)
            for variable, value in zip(self._model.optimizer.variables, _unnumbered(arrays, "optimizer"), strict=True):
                variable.assign(value)
            history: list[Epoch] = json.loads(str(arrays[_HISTORY]))
        return history

    def save(self, history: list[Epoch], measured: list[NDArray[Any]] | None = None) -> None:
        """Replace what was saved by the model as it is now.

        Args:
            history: the measures of all epochs.
            measured: the weights that the last of them was measured with, where they are not the model's own.
        """
        if self._best_epoch(history) == len(history) - 1:
            self._best_weights = self._model.get_weights() if measured is None else measured
        optimizer = [keras.ops.convert_to_numpy(variable) for variable in self._model.optimizer.variables]
        arrays = {
            **_numbered(self._model.get_weights(), "weight"),
            **_numbered(self._best_weights, _BEST),
            **_numbered(optimizer, "optimizer"),
            _HISTORY: np.array(json.dumps(history)),
        }
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self._path, buffer.getvalue())

    def restore_best(self) -> None:
        """Give the model the weights of the best epoch."""
        self._model.set_weights(self._best_weights)


def _numbered(arrays: list[NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    return {f"{prefix}{number}": array for number, array in enumerate(arrays)}


def _unnumbered(arrays: Any, prefix: str) -> list[NDArray[Any]]:
    count = sum(name.startswith(prefix) for name in arrays.files)
    return [arrays[f"{prefix}{number}"] for number in range(count)]
