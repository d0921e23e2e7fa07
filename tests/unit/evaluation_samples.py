"""Pictures with labels, as a data set loads them; the bytes are no pictures, which only a gateway would mind."""

import hashlib
from pathlib import Path

from affect_contract.labels import Expression
from affect_dataset.samples import Sample

WITHOUT_AFFECT = 5


def write_samples(folder: Path, count: int = 24) -> list[Sample]:
    """Expressions in turn, valence and arousal rising; one picture counts for classification only."""
    folder.mkdir(parents=True, exist_ok=True)
    samples = []
    for number in range(count):
        path = folder / f"{number:03}.jpg"
        path.write_bytes(f"picture {number}".encode())
        affect = None if number == WITHOUT_AFFECT else number / count - 0.5
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        samples.append(Sample(path.stem, path, Expression(number % 8), affect, affect, digest))
    return samples
