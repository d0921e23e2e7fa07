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

_HISTORY: Final = "history"
_BEST: Final = "best"


def least_loss(epoch: dict[str, float]) -> float:
    """How good an epoch is by its validation loss: more is better."""
    return -epoch["val_loss"]


def best(history: Sequence[dict[str, float]], score: Callable[[dict[str, float]], float] = least_loss) -> int:
    """Which epoch is the best, as an index; of several alike the last."""
    return max(range(len(history)), key=lambda number: (score(history[number]), number))


class Checkpoint:
    """Weights, optimizer state, best weights so far and history of one model in training.

    Args:
        path: the file.
        model: the model, its optimizer built.
        score: how good an epoch is; more is better.
    """

    def __init__(self, path: Path, model: keras.Model, score: Callable[[dict[str, float]], float] = least_loss) -> None:
        self._path = path
        self._model = model
        self._score = score
        self._best: list[NDArray[Any]] = model.get_weights()

    def restore(self) -> list[dict[str, float]]:
        """Bring the model back to its last saved epoch.

        Returns:
            The measures of the epochs done; empty where nothing was saved.
        """
        if not self._path.exists():
            return []
        with np.load(self._path, allow_pickle=False) as arrays:
            self._model.set_weights(_unnumbered(arrays, "weight"))
            self._best = _unnumbered(arrays, _BEST)
            for variable, value in zip(self._model.optimizer.variables, _unnumbered(arrays, "optimizer"), strict=True):
                variable.assign(value)
            history: list[dict[str, float]] = json.loads(str(arrays[_HISTORY]))
        return history

    def save(self, history: list[dict[str, float]], measured: list[NDArray[Any]] | None = None) -> None:
        """Replace what was saved by the model as it is now.

        Args:
            history: the measures of all epochs.
            measured: the weights that the last of them was measured with, where they are not the model's own.
        """
        if best(history, self._score) == len(history) - 1:
            self._best = self._model.get_weights() if measured is None else measured
        optimizer = [keras.ops.convert_to_numpy(variable) for variable in self._model.optimizer.variables]
        arrays = {
            **_numbered(self._model.get_weights(), "weight"),
            **_numbered(self._best, _BEST),
            **_numbered(optimizer, "optimizer"),
            _HISTORY: np.array(json.dumps(history)),
        }
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self._path, buffer.getvalue())

    def restore_best(self) -> None:
        """Give the model the weights of the best epoch."""
        self._model.set_weights(self._best)


def _numbered(arrays: list[NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    return {f"{prefix}{number}": array for number, array in enumerate(arrays)}


def _unnumbered(arrays: Any, prefix: str) -> list[NDArray[Any]]:
    count = sum(name.startswith(prefix) for name in arrays.files)
    return [arrays[f"{prefix}{number}"] for number in range(count)]
