"""The one training loop: epochs with progress, measures, checkpoints and resumption.

Each epoch's order of examples, changes to them and dropout masks follow from (seed, epoch) alone. So an interrupted run
that goes on from its last checkpoint gives the numbers that an uninterrupted one gives, on every Keras backend.
"""

import math
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from affect_training.loop.batches import TrainingData, epoch_order
from affect_training.loop.checkpoint import Checkpoint
from affect_training.loop.early_stopping import EarlyStopping
from affect_training.loop.schedule import Schedule
from affect_training.loop.validation import Epoch
from affect_training.loop.weight_averaging import averaged, take_average


@dataclass(frozen=True, kw_only=True)
class Training:
    """All that decides how a compiled network is trained; the defaults suit one task at a constant rate."""

    data: TrainingData
    validate: Callable[[], Epoch]
    """Measures the network as it is; ``val_loss`` is among the measures."""
    epochs: int
    batch_size: int
    schedule: Schedule
    seed: int
    averaging: bool = False
    """Whether the optimizer keeps a running mean of the weights, which is then what is measured and kept."""
    stopping: EarlyStopping = field(default_factory=EarlyStopping)

    def order(self, epoch: int) -> list[NDArray[np.intp]]:
        """The indices of each batch of an epoch (from 0)."""
        return epoch_order(len(self.data), self.batch_size, seed=self.seed, epoch=epoch)


class History(NamedTuple):
    """How a network came about."""

    epochs: list[Epoch]
    """The measures of every epoch, those before an interruption included."""
    kept: int
    """Index of the epoch whose weights the network has."""


def train(model: keras.Model, training: Training, checkpoint: Path, description: str) -> History:
    """Train a compiled network in place.

    Args:
        model: the network, its optimizer built.
        training: how it is trained.
        checkpoint: a file to resume from and to save to after each epoch.
        description: the name of the progress bar.
    """
    saved = Checkpoint(checkpoint, model, training.stopping.best)
    history = saved.restore()
    steps = len(training.order(0))
    with tqdm(total=training.epochs * steps, initial=len(history) * steps, desc=description, unit="step") as bar:
        while len(history) < training.epochs and not training.stopping.stalled(history):
            started = time.perf_counter()
            measures = _train_epoch(model, training, epoch=len(history), step_done=bar.update)
            with averaged(model) if training.averaging else nullcontext() as mean:
                measures |= training.validate()
            measures["seconds"] = time.perf_counter() - started
            history.append(measures)
            saved.save(history, mean)
            bar.set_postfix({name: f"{measures[name]:.4f}" for name in ("loss", "val_loss")})
    if training.stopping.keeps_best:
        saved.restore_best()
    elif training.averaging:
        take_average(model)
    return History(history, training.stopping.kept(history))


def _train_epoch(model: keras.Model, training: Training, *, epoch: int, step_done: Callable[[], object]) -> Epoch:
    _seed_dropout(model, training.seed, epoch)
    order = training.order(epoch)
    sums: dict[str, float] = defaultdict(float)
    rate = math.nan
    for step, batch in enumerate(training.data.batches(order, epoch), start=epoch * len(order)):
        previous, rate = rate, training.schedule(step)
        if rate != previous:  # setting it takes a twentieth of a head's step
            model.optimizer.learning_rate = rate
        for name, value in model.train_on_batch(*batch, return_dict=True).items():
            sums[name] += float(value) * len(batch.inputs)
        step_done()
    return {name: total / sum(map(len, order)) for name, total in sums.items()}


def _seed_dropout(model: keras.Model, seed: int, epoch: int) -> None:
    """Make the dropout masks of an epoch follow from seed and epoch alone."""
    generators = [getattr(layer, "seed_generator", None) for layer in model._flatten_layers()]
    for number, generator in enumerate(filter(None, generators)):
        # The state is a pair of numbers in the backend's integer type; masks depend on both.
        state = np.random.default_rng((seed, epoch, number)).integers(0, 2**31, size=2)
        generator.state.assign(state.astype(keras.backend.standardize_dtype(generator.state.dtype)))
