"""The batches of an epoch: their order, and inputs (cached features, or pictures decoded on the way) with labels."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from affect_dataset.samples import decode
from affect_training import devices

_WORKERS: Final = 4
_BATCHES_AHEAD: Final = 3


class Batch(NamedTuple):
    """The arguments of one training step; each array's first axis is the examples."""

    inputs: NDArray[Any]
    targets: Any
    """An array, or one for each output of the network by name."""
    weights: NDArray[np.float32] | None = None
    """How much each example counts in the loss, [b]."""


class TrainingData(Protocol):
    """A fixed sequence of examples that can be read in any order."""

    def __len__(self) -> int:
        """How many there are."""

    def batches(self, order: Sequence[NDArray[np.intp]], epoch: int) -> Iterator[Batch]:
        """One batch for each array of indices, in order, as an epoch (from 0) sees it."""


class Inputs(Protocol):
    """A fixed sequence of inputs that can be read in any order."""

    def __len__(self) -> int:
        """How many there are."""

    def batches(self, indices: Iterable[NDArray[np.intp]]) -> Iterator[NDArray[Any]]:
        """One array for each array of indices, in order."""


@dataclass(frozen=True)
class Examples:
    """Inputs with their labels."""

    inputs: Inputs
    labels: NDArray[Any]
    """int64 [n] expression ids, or float32 [n, 2] valence and arousal."""
    weights: NDArray[np.float32] | None = None
    """float32 [n], how much each example counts in the loss."""

    def __len__(self) -> int:
        return len(self.inputs)

    def batches(self, order: Sequence[NDArray[np.intp]], epoch: int) -> Iterator[Batch]:  # noqa: ARG002 - all alike
        """One batch for each array of indices, in order; the same in every epoch."""
        for indices, inputs in zip(order, self.inputs.batches(order), strict=True):
            yield Batch(inputs, self.labels[indices], None if self.weights is None else self.weights[indices])


@dataclass(frozen=True)
class Pictures:
    """Picture files, decoded in threads a few batches ahead of their use."""

    paths: Sequence[Path]

    def __len__(self) -> int:
        return len(self.paths)

    def batches(self, indices: Iterable[NDArray[np.intp]]) -> Iterator[NDArray[np.uint8]]:
        """Decoded pictures by index, uint8 [b, 224, 224, 3] each."""
        return prepared_ahead(lambda index: read_picture(self.paths[index]), indices)


@dataclass(frozen=True)
class Mirrored:
    """Pictures, left to right."""

    pictures: Pictures

    def __len__(self) -> int:
        return len(self.pictures)

    def batches(self, indices: Iterable[NDArray[np.intp]]) -> Iterator[NDArray[np.uint8]]:
        """Mirror images by index, uint8 [b, 224, 224, 3] each."""
        return (batch[:, :, ::-1] for batch in self.pictures.batches(indices))


def read_picture(path: Path) -> NDArray[np.uint8]:
    """Read and preprocess a picture of a data set."""
    return decode(path.read_bytes())


def in_order(count: int, batch_size: int) -> list[NDArray[np.intp]]:
    """Indices 0 to ``count`` - 1 in batches."""
    return _split(np.arange(count), batch_size)


def shuffled(count: int, batch_size: int, *, seed: int, epoch: int) -> list[NDArray[np.intp]]:
    """A permutation in batches that depends on nothing but its arguments, so that any epoch can be repeated."""
    return _split(np.random.default_rng((seed, epoch)).permutation(count), batch_size)


def divisible(batches: Sequence[NDArray[np.intp]], by: int) -> list[NDArray[np.intp]]:
    """Batches that can each be divided evenly; what is too much for that is left out of the last one."""
    return [batch[: len(batch) - len(batch) % by] for batch in batches if len(batch) >= by]


def epoch_order(count: int, batch_size: int, *, seed: int, epoch: int) -> list[NDArray[np.intp]]:
    """The indices of an epoch's batches, each divisible among the accelerators."""
    return divisible(shuffled(count, batch_size, seed=seed, epoch=epoch), devices.count())


def prepared_ahead(prepare: Callable[[int], NDArray[Any]], order: Iterable[NDArray[np.intp]]) -> Iterator[NDArray[Any]]:
    """Stack what ``prepare`` makes of each batch's indices, in threads a few batches ahead of its use."""
    with ThreadPoolExecutor(_WORKERS, thread_name_prefix="prepare") as pool:
        ahead: deque[list[Any]] = deque()
        for indices in order:
            ahead.append([pool.submit(prepare, int(index)) for index in indices])
            if len(ahead) > _BATCHES_AHEAD:
                yield _stacked(ahead.popleft())
        while ahead:
            yield _stacked(ahead.popleft())


def _split(indices: NDArray[np.intp], batch_size: int) -> list[NDArray[np.intp]]:
    return [indices[start : start + batch_size] for start in range(0, len(indices), batch_size)]


def _stacked(futures: Iterable[Any]) -> NDArray[Any]:
    return np.stack([future.result() for future in futures])
