"""Which versions there are, as a table or a document."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from affect_registry import store
from affect_registry.observers import ModelState, Witness
from affect_registry.store import Entries

Row = dict[str, Any]
"""A version of a model: its name, number, labels, whether it is listed, its bytes, and its state by witness."""


def rows(root: Path, entries: Entries, witnesses: Sequence[Witness]) -> list[Row]:
    """One a version, whether it is on disk, listed, or both.

    Raises:
        CannotSay: a witness does not answer.
    """
    found = []
    states = {witness.name: witness.states(entries) for witness in witnesses}
    for name, entry in sorted(entries.items()):
        directory = entry.directory(root)
        on_disk = store.versions_on_disk(directory)
        for version in sorted({*on_disk, *entry.versions}):
            row: Row = {
                "name": name,
                "version": version,
                "labels": sorted(label for label, one in entry.labels.items() if one == version),
                "listed": version in entry.versions,
                "bytes": _size(directory / str(version)) if version in on_disk else None,
            }
            found.append(row | ({"states": _states(states, name, version)} if witnesses else {}))
    return found


def by_model(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows as a document has them."""
    models: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        models.setdefault(row["name"], []).append({key: value for key, value in row.items() if key != "name"})
    return [{"name": name, "versions": versions} for name, versions in models.items()]


def table(rows: Sequence[Row]) -> str:
    """The rows as a person reads them."""
    width = max((len(row["name"]) for row in rows), default=0)
    return "\n".join(_line(row, width) for row in rows)


def _line(row: Row, width: int) -> str:
    labels = ", ".join(row["labels"]) or "-"
    where = "listed" if row["listed"] else "on disk only"
    size = "not on disk" if row["bytes"] is None else f"{row['bytes'] / 1e6:,.1f} MB"
    states = "  ".join(f"{witness}: {state or 'not there'}" for witness, state in row.get("states", {}).items())
    return f"{row['name']:{width}}  {row['version']:>4}  {labels:<16}  {where:<12}  {size:>11}  {states}".rstrip()


def _states(states: Mapping[str, Mapping[str, ModelState]], name: str, version: int) -> dict[str, str | None]:
    """What each witness says of a version; None where it has none of it."""
    said: dict[str, str | None] = {}
    for witness, models in states.items():
        state = models.get(name, ModelState()).versions.get(version)
        said[witness] = state and (f"{state.state}: {state.problem}" if state.problem else state.state)
    return said


def _size(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
