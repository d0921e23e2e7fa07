"""Small labelled picture sets for the training tests, and features in memory."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from affect_contract.labels import Expression
from affect_dataset.samples import Sample


@dataclass(frozen=True)
class Features:
    """Rows of a feature array, float32 [n, d], as inputs of a training."""

    rows: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.rows)

    def batches(self, indices: Iterable[NDArray[np.intp]]) -> Iterator[NDArray[np.float32]]:
        """Rows by index, float32 [b, d] each."""
        return (self.rows[batch] for batch in indices)


def write_samples(folder: Path, count: int, *, seed: int = 0) -> list[Sample]:
    """Pictures of coloured patches, their expressions in turn, valence and arousal at random."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    return [_sample(folder / f"{number:03}.png", number, rng) for number in range(count)]


def _sample(path: Path, number: int, rng: np.random.Generator) -> Sample:
    patches = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(patches).resize((224, 224), Image.Resampling.NEAREST).save(path)
    valence, arousal = rng.uniform(-1, 1, 2)
    return Sample(
        id=path.stem,
        path=path,
        expression=Expression(number % len(Expression)),
        valence=float(valence),
        arousal=float(arousal),
        digest=hashlib.sha256(path.read_bytes()).hexdigest(),
        fixed_split=None,
    )
