"""Compare the study's training loop with ours on the four combinations, in one run, on the same pictures.

The study's loop keeps the frozen backbone inside every epoch, as a tutorial does: `model.fit` on pictures
through `tf.data`. One epoch warms it up, the second is measured and multiplied by the epochs. Ours runs each
backbone over each picture once and trains the heads on the features; it is measured whole, from an empty
cache. Loading the data set, building the networks, the custom CNN and the export are measured in neither.
"""

import os
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf

from affect_contract.arguments import whole_number
from affect_contract.backbones import STUDY_BACKBONES, BackboneName
from affect_contract.commands import CommandParser
from affect_contract.outputs import Task
from affect_dataset import loading
from affect_dataset.faces.synthetic import write_faces
from affect_dataset.samples import Sample, Split
from affect_dataset.split import assign
from affect_training.loop.tasks import TASKS
from affect_training.modes import Course, train_heads
from affect_training.networks.backbones import build_base
from affect_training.networks.heads import build_head, chain
from affect_training.networks.weights import Origin, Weights, file_name
from affect_training.preparation import cache_of
from affect_training.recipes.recipe import STUDY_RECIPE


def study_seconds(backbone: BackboneName, weights: Weights, task: Task, course: Course, epochs: int) -> float:
    """Return the seconds of the study's loop for one combination: its second epoch times the epochs."""
    base = build_base(backbone, weights)
    model = chain(base, build_head(task, base.output.shape[-1], STUDY_RECIPE, seed=0))
    loss = "sparse_categorical_crossentropy" if task is Task.CLASSIFICATION else "mean_squared_error"
    model.compile(keras.optimizers.Adam(STUDY_RECIPE.learning_rate), loss=loss)
    clock = _EpochClock()
    training, validation = (_pipeline(task, samples) for samples in (course.training, course.validation))
    model.fit(training, validation_data=validation, epochs=2, verbose=0, callbacks=[clock])
    return clock.seconds[-1] * epochs


def our_seconds(chosen: dict[BackboneName, Weights], course: Course) -> dict[BackboneName, float]:
    """Return the seconds of our loop for both tasks, by backbone."""
    seconds = {}
    for backbone, weights in chosen.items():
        base = build_base(backbone, weights)
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            cache = cache_of(base, backbone, Path(folder))
            train_heads(backbone, base, cache, STUDY_RECIPE, course)
            seconds[backbone] = time.perf_counter() - started
    return seconds


def main() -> None:
    """Run the benchmark and print its table."""
    options = _parser().parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = options.data or Path(folder) / "faces"
        if options.data is None:
            write_faces(data, options.pictures)
        course = _course(data, options.pictures, Path(folder) / "checkpoints")
        chosen = {backbone: _weights(backbone, options.weights) for backbone in STUDY_BACKBONES}
        ours = our_seconds(chosen, course)
        study = {
            backbone: sum(study_seconds(backbone, weights, task, course, STUDY_RECIPE.epochs) for task in Task)
            for backbone, weights in chosen.items()
        }
    _print_table(course, study, ours)


class _EpochClock(keras.callbacks.Callback):  # type: ignore[misc]
    """Records the seconds of each epoch, validation included."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []
        self._started = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        self._started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        self.seconds.append(time.perf_counter() - self._started)


def _pipeline(task: Task, samples: "list[Sample] | Any") -> tf.data.Dataset:
    paths = tf.data.Dataset.from_tensor_slices([str(sample.path) for sample in samples])
    pictures = paths.map(_decode, num_parallel_calls=tf.data.AUTOTUNE)
    targets = tf.data.Dataset.from_tensor_slices(TASKS[task].labels(samples))
    return tf.data.Dataset.zip(pictures, targets).batch(STUDY_RECIPE.batch_size).prefetch(tf.data.AUTOTUNE)


def _decode(path: tf.Tensor) -> tf.Tensor:
    picture = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
    return tf.cast(tf.image.resize(picture, (224, 224)), tf.uint8)


def _course(data: Path, pictures: int, checkpoints: Path) -> Course:
    dataset = loading.load(data)
    assignment = assign(dataset)
    parts = (assignment.samples(dataset, part) for part in (Split.TRAIN, Split.VALIDATION))
    share = min(1.0, pictures / len(dataset.samples))
    training, validation = (_evenly(part, round(len(part) * share)) for part in parts)
    return Course(training, validation, tuple(Task), 0, checkpoints)


def _evenly(samples: list[Sample], count: int) -> list[Sample]:
    return [samples[index] for index in np.linspace(0, len(samples) - 1, count).round().astype(int)]


def _weights(backbone: BackboneName, folder: Path | None) -> Weights:
    if folder is not None and (folder / file_name(backbone)).is_file():
        return Weights(Origin.FOLDER, folder)
    return Weights(Origin.NONE)


def _print_table(course: Course, study: dict[BackboneName, float], ours: dict[BackboneName, float]) -> None:
    counts = f"{len(course.training)} + {len(course.validation)} pictures"
    print(f"training + validation: {counts}, {STUDY_RECIPE.epochs} epochs, batch {STUDY_RECIPE.batch_size}, both tasks")
    print(f"{'backbone':14} {'study':>10} {'ours':>10} {'ratio':>7}")
    for backbone in STUDY_BACKBONES:
        print(_row(backbone, study[backbone], ours[backbone]))
    print(_row("both", sum(study.values()), sum(ours.values())))


def _row(name: str, study: float, ours: float) -> str:
    return f"{name:14} {study:8.1f} s {ours:8.1f} s {study / ours:6.1f}x"


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="python bench/train.py",
        description="Compare the time that training takes in the study's loop and in ours.",
        examples=(
            "python bench/train.py",
            "python bench/train.py --data faces --weights weights",
        ),
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="PATH",
        help="data set: a folder in AffectNet's layout, or a CSV file (default: synthetic faces)",
    )
    parser.add_argument("--weights", type=Path, metavar="DIR", help="folder of ImageNet weights (default: random ones)")
    parser.add_argument(
        "--pictures",
        type=whole_number(1),
        default=800,
        metavar="N",
        help="pictures to use, test split included (default: %(default)s)",
    )
    return parser


if __name__ == "__main__":
    main()
