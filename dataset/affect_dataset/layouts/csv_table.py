"""A data set in one CSV with the columns path, expression, valence, arousal and, if it fixes the split, split."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from affect_dataset.errors import DatasetError
from affect_dataset.layouts.annotations import CsvAnnotation
from affect_dataset.rows import Row, Rows
from affect_dataset.samples import Split

COLUMNS: Final = ("path", "expression", "valence", "arousal")

_SPLIT = "split"
_EXPECTED = f"its header must be {','.join(COLUMNS)}, and {_SPLIT} if the split is fixed"

_Cells = Mapping[str | None, str | list[str] | None]
"""Cells by column. Surplus cells of a row are a list under the key None; missing cells are None."""


def csv_rows(table: Path) -> Rows:
    """Return the rows of a CSV, in which paths are relative to its folder.

    Raises:
        DatasetError: the file is no such CSV; the text says which row is wrong, and how.
    """
    try:
        with table.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            reader = csv.DictReader(file, strict=True)
            _check_columns(table, reader.fieldnames or ())
            rows = list(_rows(table, reader))
    except OSError as exc:
        raise DatasetError(f"{table} cannot be read: {exc.strerror}") from exc
    except csv.Error as exc:
        raise DatasetError(f"{table} cannot be read as CSV: {exc}") from exc
    if not rows:
        raise DatasetError(f"there are no pictures in {table}: it has a header and no rows")
    _check_splits(table, rows)
    return Rows(len(rows), rows)


def has_columns(table: Path) -> bool:
    """Whether the header of a CSV is that of a data set."""
    try:
        with table.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            found = next(csv.reader(file), [])
    except (OSError, csv.Error):
        return False
    return not _header_problem(found)


def _check_columns(table: Path, found: Sequence[str]) -> None:
    problem = _header_problem(found)
    if problem:
        raise DatasetError(f"{table} {problem}: {_EXPECTED}")


def _header_problem(found: Sequence[str]) -> str:
    """Return what is wrong with the columns of a header, as the end of a sentence; empty if nothing is."""
    missing = [column for column in COLUMNS if column not in found]
    if missing:
        return f"lacks {', '.join(missing)}"
    unknown = [column for column in found if column not in (*COLUMNS, _SPLIT)]
    if unknown:
        return f"has the unknown column {', '.join(unknown)}"
    return "names a column twice" if len(set(found)) < len(found) else ""


def _rows(table: Path, reader: "csv.DictReader[str]") -> Iterator[Row]:
    seen: set[str] = set()
    for cells in reader:
        where = f"{table}, line {reader.line_num}"
        if None in cells:
            raise DatasetError(f"{where}: more cells than the header has: quote a path that holds a comma")
        name = _cell(cells, "path")
        if not name or name in seen:
            raise DatasetError(f"{where}: the path is {'given twice' if name else 'empty'} ({name!r})")
        seen.add(name)
        expression, valence, arousal = (CsvAnnotation(_cell(cells, column)) for column in COLUMNS[1:])
        yield Row(name, table.parent / name, expression, valence, arousal, _split(where, _cell(cells, _SPLIT)))


def _cell(cells: _Cells, column: str) -> str:
    value = cells.get(column)
    return value.strip() if isinstance(value, str) else ""


def _split(where: str, value: str) -> Split | None:
    if value and value not in set(Split):
        raise DatasetError(f"{where}: the split {value!r} is none of {', '.join(Split)}")
    return Split(value) if value else None


def _check_splits(table: Path, rows: Sequence[Row]) -> None:
    given = {row.fixed_split for row in rows}
    if given == {None}:
        return
    if None in given:
        raise DatasetError(
            f"{table} fixes the split of some rows only: give every row one of {', '.join(Split)}, or leave the "
            f"column {_SPLIT} out"
        )
    lacking = [part for part in (Split.TRAIN, Split.TEST) if part not in given]
    if lacking:
        raise DatasetError(
            f"{table} fixes the split and gives no row to {' and '.join(lacking)}: give it some, or leave the column "
            f"{_SPLIT} out"
        )
