"""What a network trains on, served batch by batch: cached features, or pictures decoded on the way."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from affect_dataset.samples import decode

_DECODERS = 4
_BATCHES_AHEAD = 3


class Inputs(Protocol):
    """A fixed sequence of inputs that can be read in any order."""

    def __len__(self) -> int:
        """How many there are."""

    def batches(self, indices: Iterable[NDArray[np.intp]]) -> Iterator[NDArray[Any]]:
        """One array for each array of indices, in order."""


@dataclass(frozen=True)
class Pictures:
    """Picture files, decoded in threads a few batches ahead of their use."""

    paths: Sequence[Path]

    def __len__(self) -> int:
        return len(self.paths)

    def batches(self, indices: Iterable[NDArray[np.intp]]) -> Iterator[NDArray[np.uint8]]:
        """Decoded pictures by index, uint8 [b, 224, 224, 3] each."""
        with ThreadPoolExecutor(_DECODERS, thread_name_prefix="decode") as pool:
            ahead: deque[list[Any]] = deque()
            for batch in indices:
                ahead.append([pool.submit(read_picture, self.paths[index]) for index in batch])
                if len(ahead) > _BATCHES_AHEAD:
                    yield _stacked(ahead.popleft())
            while ahead:
                yield _stacked(ahead.popleft())


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


def _split(indices: NDArray[np.intp], batch_size: int) -> list[NDArray[np.intp]]:
    return [indices[start : start + batch_size] for start in range(0, len(indices), batch_size)]


def _stacked(futures: Iterable[Any]) -> NDArray[np.uint8]:
    return np.stack([future.result() for future in futures])
