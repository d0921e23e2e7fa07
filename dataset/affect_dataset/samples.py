"""A data set in memory: labelled pictures, and what was left out and why."""

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from affect_contract.atomic_files import write_atomically
from affect_contract.labels import Expression
from affect_contract.preprocess import MAX_PIXELS, preprocess

MAX_PICTURE_BYTES = 100 * 2**20
"""A file of a data set may be larger than what a stranger may send."""

Item = TypeVar("Item")


class DatasetError(Exception):
    """A data set that cannot be used as it is; the text is one sentence for the user."""


class Split(StrEnum):
    """What a picture is for."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


class Reason(StrEnum):
    """Why a row was left out."""

    UNREADABLE = "unreadable picture"
    MISSING = "missing picture"
    UNANNOTATED = "missing annotation"
    PICKLED = "annotation is pickled"
    NOT_A_NUMBER = "annotation is not a number"
    EXPRESSION = "expression outside 0..7"
    AFFECT = "valence or arousal outside [-1, 1]"
    REPEATED = "identical to a validation or test picture"


class Exclusion(NamedTuple):
    """One row that was left out, whole or for one task."""

    id: str
    path: Path
    reason: Reason
    detail: str = ""

    @property
    def scope(self) -> str:
        """``row``, or ``regression`` for a row that still counts for classification."""
        return "regression" if self.reason is Reason.AFFECT else "row"


@dataclass(frozen=True, slots=True)
class Sample:
    """One labelled picture."""

    id: str
    """Unique in the data set, and the same on every machine."""
    path: Path
    expression: Expression
    valence: float | None
    """In [-1, 1]; None, like arousal, where the row counts for classification only."""
    arousal: float | None
    digest: str
    """Hex SHA-256 of the file's bytes."""
    fixed_split: Split | None = None
    """What the data set itself says the picture is for."""


@dataclass(frozen=True)
class Dataset:
    """Labelled pictures in the order of their ids."""

    root: Path
    samples: tuple[Sample, ...]
    exclusions: tuple[Exclusion, ...]
    digest: str
    """Hex SHA-256 over ids, picture bytes, labels and fixed split: equal digests are equal data."""

    def counts(self) -> dict[Reason, int]:
        """How many rows were left out, by reason."""
        return dict(Counter(exclusion.reason for exclusion in self.exclusions))

    def write_exclusions(self, path: Path) -> None:
        """List every row that was left out as CSV: id, path, reason, scope, detail."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("id", "path", "reason", "scope", "detail"))
        writer.writerows((one.id, one.path, one.reason, one.scope, one.detail) for one in self.exclusions)
        write_atomically(path, encode_names(text.getvalue()))


class Progress(Protocol):
    """What reports progress over an iterable; ``tqdm`` is one."""

    def __call__(self, iterable: Iterable[Item], *, total: int, desc: str, unit: str) -> Iterable[Item]:
        """Pass the items on."""


def silent(iterable: Iterable[Item], *, total: int, desc: str, unit: str) -> Iterable[Item]:  # noqa: ARG001
    """No progress shown."""
    return iterable


def decode(data: bytes) -> NDArray[np.uint8]:
    """A data set's picture as every model takes it, uint8 [224, 224, 3].

    Raises:
        AffectError: it cannot be decoded, or is absurdly large.
    """
    return preprocess(data, max_bytes=MAX_PICTURE_BYTES, max_pixels=MAX_PIXELS)


def data_digest(samples: Sequence[Sample]) -> str:
    """The digest of a data set with these samples, in order."""
    total = hashlib.sha256()
    for one in samples:
        fixed = f"\0{one.fixed_split}" if one.fixed_split else ""
        line = f"{one.id}\0{one.digest}\0{one.expression}\0{one.valence}\0{one.arousal}{fixed}\n"
        total.update(encode_names(line))
    return total.hexdigest()


def encode_names(text: str) -> bytes:
    """UTF-8, file names that are none being kept byte by byte, as Python reads them from a folder."""
    return text.encode("utf-8", "surrogateescape")
