"""Reading the rows of a data set: their annotations are parsed and their pictures decoded once."""

import hashlib
import math
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from affect_contract.errors import AffectError
from affect_contract.labels import AFFECT_MAX, AFFECT_MIN, LABELS, Expression
from affect_dataset.exclusions import Exclusion, Reason
from affect_dataset.layouts.annotations import Annotation, UnusableRow
from affect_dataset.samples import MAX_PICTURE_BYTES, Sample, Split, decode

# Each thread may hold a decoded picture of the largest size, so their number is bounded on every machine.
_READERS = min(8, (os.cpu_count() or 1) + 2)
_ROWS_AHEAD = 256


@dataclass(frozen=True, slots=True)
class Row:
    """A row as its layout names it; nothing of it has been read yet."""

    id: str
    path: Path
    expression: Annotation
    valence: Annotation
    arousal: Annotation
    fixed_split: Split | None = None


class Rows(NamedTuple):
    """The rows of a data set and their number; the rows may be made one by one, since there may be a million."""

    total: int
    rows: Iterable[Row]


ReadRow = tuple[Sample | None, list[Exclusion]]


def read_rows(rows: Iterable[Row]) -> Iterator[ReadRow]:
    """Read rows in threads, a bounded number ahead; the outcomes come in the order of the rows."""
    source = iter(rows)
    with ThreadPoolExecutor(_READERS, thread_name_prefix="dataset") as pool:
        ahead: list[Future[ReadRow]] = [pool.submit(read_row, row) for row in islice(source, _ROWS_AHEAD)]
        while ahead:
            done, ahead = ahead, [pool.submit(read_row, row) for row in islice(source, _ROWS_AHEAD)]
            for future in done:
                yield future.result()


def read_row(row: Row) -> ReadRow:
    """Return the sample in a row, or None if the row cannot be used, and what was excluded."""
    try:
        expression = _expression(row.expression.read())
        valence, arousal = _number("valence", row.valence.read()), _number("arousal", row.arousal.read())
        digest = _verified_digest(row.path)
    except UnusableRow as exc:
        return None, [Exclusion(row.id, row.path, exc.reason, exc.detail)]
    outside = [
        f"{name} {value:g}"
        for name, value in (("valence", valence), ("arousal", arousal))
        if not AFFECT_MIN <= value <= AFFECT_MAX
    ]
    if outside:
        sample = Sample(row.id, row.path, expression, None, None, digest, row.fixed_split)
        return sample, [Exclusion(row.id, row.path, Reason.AFFECT, ", ".join(outside))]
    return Sample(row.id, row.path, expression, valence, arousal, digest, row.fixed_split), []


def _expression(text: str) -> Expression:
    label = text.strip().lower()
    if label in LABELS:
        return Expression(LABELS.index(label))
    number = _number("expression", text)
    if not number.is_integer() or int(number) not in set(Expression):
        raise UnusableRow(Reason.EXPRESSION, text)
    return Expression(int(number))


def _number(name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError as exc:
        raise UnusableRow(Reason.NOT_A_NUMBER, f"{name} {text!r}") from exc
    if not math.isfinite(number):
        raise UnusableRow(Reason.NOT_A_NUMBER, f"{name} {text!r}")
    return number


def _verified_digest(path: Path) -> str:
    """Decode a picture once, and return the digest of its file."""
    data = _read(path)
    try:
        decode(data)
    except AffectError as exc:
        raise UnusableRow(Reason.UNREADABLE, exc.detail) from exc
    return hashlib.sha256(data).hexdigest()


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            # One byte over the limit is enough to refuse a file, however large it is.
            return file.read(MAX_PICTURE_BYTES + 1)
    except FileNotFoundError as exc:
        raise UnusableRow(Reason.MISSING) from exc
    except OSError as exc:
        raise UnusableRow(Reason.UNREADABLE, exc.strerror or str(exc)) from exc
    except ValueError as exc:  # a path with a NUL in it
        raise UnusableRow(Reason.MISSING, str(exc)) from exc
