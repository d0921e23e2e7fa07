"""A data set in memory: its labelled pictures, and the rows that were excluded."""

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from affect_contract.atomic_files import write_atomically
from affect_contract.labels import Expression
from affect_contract.preprocess import MAX_PIXELS, preprocess
from affect_dataset.exclusions import Exclusion, Reason

MAX_PICTURE_BYTES = 100 * 2**20
"""The largest file of a data set, in bytes; more than a caller of the gateway may send."""


class Split(StrEnum):
    """The parts of a split."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Sample:
    """A labelled picture of a data set."""

    id: str
    """Unique in the data set, and the same on every machine."""
    path: Path
    expression: Expression
    valence: float | None
    """In [-1, 1]; None, like arousal, if the row is used for classification only."""
    arousal: float | None
    digest: str
    """The SHA-256 of the file's bytes, in hex."""
    fixed_split: Split | None = None
    """The part of the split that the data set itself assigns to the picture, if it does."""


@dataclass(frozen=True)
class Dataset:
    """The labelled pictures of a data set, in the order of their ids, and its excluded rows."""

    root: Path
    samples: tuple[Sample, ...]
    exclusions: tuple[Exclusion, ...]
    digest: str
    """The SHA-256 of ids, picture bytes, labels and fixed split, in hex: equal digests mean equal data."""

    def counts(self) -> dict[Reason, int]:
        """Return how many rows were excluded, by reason."""
        return dict(Counter(exclusion.reason for exclusion in self.exclusions))

    def write_exclusions(self, path: Path) -> None:
        """Write every excluded row to a CSV with the columns id, path, reason, scope and detail."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("id", "path", "reason", "scope", "detail"))
        writer.writerows((one.id, one.path, one.reason, one.scope, one.detail) for one in self.exclusions)
        write_atomically(path, encode_names(text.getvalue()))


def decode(data: bytes) -> NDArray[np.uint8]:
    """Decode a picture of a data set into the input of every model, uint8 [224, 224, 3].

    Raises:
        AffectError: the picture cannot be decoded, or is larger than `MAX_PICTURE_BYTES` or `MAX_PIXELS`.
    """
    return preprocess(data, max_bytes=MAX_PICTURE_BYTES, max_pixels=MAX_PIXELS)


def data_digest(samples: Sequence[Sample]) -> str:
    """Return the digest of a data set with these samples in this order."""
    total = hashlib.sha256()
    for one in samples:
        fixed = f"\0{one.fixed_split}" if one.fixed_split else ""
        line = f"{one.id}\0{one.digest}\0{one.expression}\0{one.valence}\0{one.arousal}{fixed}\n"
        total.update(encode_names(line))
    return total.hexdigest()


def encode_names(text: str) -> bytes:
    """Encode text as UTF-8; file names that are no UTF-8 keep the bytes that Python read from a folder."""
    return text.encode("utf-8", "surrogateescape")
