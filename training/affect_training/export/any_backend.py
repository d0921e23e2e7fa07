"""Exports the networks of any Keras backend: here where Keras runs on TensorFlow, else in a process where it does."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import keras

from affect_contract.outputs import Task
from affect_training.errors import TrainingError

_TENSORFLOW: Final = "tensorflow"
_SUFFIX: Final = ".keras"
_BASE: Final = f"base{_SUFFIX}"


def export_network(
    directory: Path,
    base: keras.Model,
    heads: Mapping[Task, keras.Model],
    *,
    encoded_signature: bool,
    test_time_flip: bool,
) -> None:
    """Write one servable version; see `export.export`.

    Raises:
        TrainingError: TensorFlow could not do it.
    """
    if keras.backend.backend() == _TENSORFLOW:
        # Where another backend trains, TensorFlow stays away from its accelerators.
        from affect_training.export.saved_model import export  # noqa: PLC0415

        export(directory, base, heads, encoded_signature=encoded_signature, test_time_flip=test_time_flip)
        return
    with tempfile.TemporaryDirectory() as folder:
        base.save(Path(folder) / _BASE)
        for task, head in heads.items():
            head.save(Path(folder) / f"{task}{_SUFFIX}")
        _export_elsewhere(Path(folder), directory, encoded_signature, test_time_flip)


def _export_elsewhere(networks: Path, directory: Path, *flags: bool) -> None:
    words = [sys.executable, "-m", __name__, str(networks), str(directory), *(str(int(flag)) for flag in flags)]
    environment = os.environ | {"KERAS_BACKEND": _TENSORFLOW, "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - our own
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise TrainingError(f"TensorFlow could not export {directory}: {last}")


def _main(networks: str, directory: str, encoded_signature: str, test_time_flip: str) -> None:
    """Export saved networks, in the process whose Keras runs on TensorFlow."""
    base = keras.saving.load_model(Path(networks) / _BASE, compile=False)
    paths = {task: Path(networks) / f"{task}{_SUFFIX}" for task in Task}
    heads = {task: keras.saving.load_model(path, compile=False) for task, path in paths.items() if path.exists()}
    export_network(
        Path(directory), base, heads, encoded_signature=encoded_signature == "1", test_time_flip=test_time_flip == "1"
    )


if __name__ == "__main__":
    _main(*sys.argv[1:])
