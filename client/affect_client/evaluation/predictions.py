"""`predictions.jsonl`: every answer of a run as it came, from which everything else is computed."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

FILE_NAME = "predictions.jsonl"

Row = dict[str, Any]
"""``id``, ``backbone``, ``latency_ms``, and either ``answer`` with ``versions`` or ``error``."""


class PredictionLog:
    """An append-only file of rows that survives being killed at any moment."""

    def __init__(self, path: Path) -> None:
        self._path = path
        _cut_torn_line(path)
        self._file = path.open("a", encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def append(self, row: Row) -> None:
        """Record one row; it is on its way to the disk when this returns."""
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()

    def asked(self) -> set[tuple[str, str]]:
        """Picture id and backbone of every row."""
        return {(row["id"], row["backbone"]) for row in read_rows(self._path)}


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a file, one at a time."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def _cut_torn_line(path: Path) -> None:
    """Remove the end of a line that a killed process was writing."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        data = file.read()
        whole = data.rfind(b"\n") + 1
        if whole != len(data):
            file.truncate(whole)
