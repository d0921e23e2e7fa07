"""One row of a data set: its annotations read, its picture verified."""

import hashlib
import math
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from affect_contract.errors import AffectError
from affect_contract.labels import AFFECT_MAX, AFFECT_MIN, LABELS, Expression
from affect_dataset.samples import Exclusion, Reason, Sample, Split, decode

_READERS = 4
_ROWS_AHEAD = 256


class Unusable(Exception):
    """A row, or part of one, that cannot be used."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(reason)
        self.reason, self.detail = reason, detail


@dataclass(frozen=True, slots=True)
class Text:
    """An annotation that stands in a CSV."""

    value: str | None

    def read(self) -> str:
        """The text.

        Raises:
            Unusable: the cell is empty.
        """
        if not self.value:
            raise Unusable(Reason.UNANNOTATED)
        return self.value


@dataclass(frozen=True, slots=True)
class Npy:
    """An annotation that stands in a file of its own: a scalar, often stored as a string."""

    path: Path

    def read(self) -> str:
        """The scalar as text.

        Raises:
            Unusable: no such file, or no single value in it.
        """
        try:
            value = np.load(self.path, allow_pickle=False)
        except FileNotFoundError as exc:
            raise Unusable(Reason.UNANNOTATED, self.path.name) from exc
        except (ValueError, EOFError, OSError) as exc:
            raise Unusable(_npy_reason(self.path), self.path.name) from exc
        if not isinstance(value, np.ndarray) or value.size != 1:
            raise Unusable(Reason.NOT_A_NUMBER, self.path.name)
        item = value.item()
        return item.decode("ascii", "replace") if isinstance(item, bytes) else str(item)


Annotation = Text | Npy


def _npy_reason(path: Path) -> Reason:
    """Whether numpy refused a file because it would have to run a pickle in it."""
    head = path.read_bytes()[:128]
    return Reason.PICKLED if b"'|O'" in head or head[:1] == b"\x80" else Reason.NOT_A_NUMBER


@dataclass(frozen=True, slots=True)
class Row:
    """A row as its layout names it, nothing of it read yet."""

    id: str
    path: Path
    expression: Annotation
    valence: Annotation
    arousal: Annotation
    fixed_split: Split | None = None


Outcome = tuple[Sample | None, list[Exclusion]]


def read_rows(rows: Iterable[Row]) -> Iterator[Outcome]:
    """Read rows in threads, a bounded number ahead; outcomes come in order."""
    source = iter(rows)
    with ThreadPoolExecutor(_READERS, thread_name_prefix="dataset") as pool:
        ahead: list[Future[Outcome]] = [pool.submit(read_row, row) for row in islice(source, _ROWS_AHEAD)]
        while ahead:
            done, ahead = ahead, [pool.submit(read_row, row) for row in islice(source, _ROWS_AHEAD)]
            for future in done:
                yield future.result()


def read_row(row: Row) -> Outcome:
    """The sample of a row, if it is one, and what of the row cannot be used."""
    exclusions: list[Exclusion] = []
    try:
        expression = _expression(row.expression.read())
        digest = _verified_digest(row.path)
    except Unusable as exc:
        return None, [Exclusion(row.id, row.path, exc.reason, exc.detail)]
    valence = arousal = None
    try:
        valence, arousal = _affect(row.valence.read()), _affect(row.arousal.read())
    except Unusable as exc:
        if exc.reason is not Reason.AFFECT:
            return None, [Exclusion(row.id, row.path, exc.reason, exc.detail)]
        valence = arousal = None
        exclusions.append(Exclusion(row.id, row.path, exc.reason, exc.detail))
    return Sample(row.id, row.path, expression, valence, arousal, digest, row.fixed_split), exclusions


def _expression(text: str) -> Expression:
    if text in LABELS:
        return Expression(LABELS.index(text))
    number = _number(text)
    if not number.is_integer() or int(number) not in set(Expression):
        raise Unusable(Reason.EXPRESSION, text)
    return Expression(int(number))


def _affect(text: str) -> float:
    number = _number(text)
    if not AFFECT_MIN <= number <= AFFECT_MAX:
        raise Unusable(Reason.AFFECT, text)
    return number


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError as exc:
        raise Unusable(Reason.NOT_A_NUMBER, text) from exc
    if not math.isfinite(number):
        raise Unusable(Reason.NOT_A_NUMBER, text)
    return number


def _verified_digest(path: Path) -> str:
    """The digest of a picture that has really been decoded once."""
    try:
        data = path.read_bytes()
        decode(data)
    except FileNotFoundError as exc:
        raise Unusable(Reason.MISSING) from exc
    except (OSError, AffectError) as exc:
        raise Unusable(Reason.UNREADABLE, str(exc)) from exc
    return hashlib.sha256(data).hexdigest()
