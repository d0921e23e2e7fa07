"""List the versions of a models directory, as a table or as a JSON document."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from affect_contract.versions import ModelState
from affect_registry import store
from affect_registry.observers import Observer
from affect_registry.store import Entries


class ListedVersion(TypedDict):
    """One version of a model, as `affect-models list` reports it."""

    name: str
    version: int
    labels: list[str]
    listed: bool
    """Whether `models.config` names the version."""
    bytes: int | None
    """Size in bytes; None if the version is not on disk."""
    states: NotRequired[dict[str, str | None]]
    """State by observer, None if the observer does not have the version; missing if there are no observers."""


def listed_versions(root: Path, entries: Entries, observers: Sequence[Observer]) -> list[ListedVersion]:
    """Return every version that is on disk, listed, or both.

    Raises:
        Unobservable: an observer does not answer.
    """
    found: list[ListedVersion] = []
    states = {observer.name: observer.states(entries) for observer in observers}
    for name, entry in sorted(entries.items()):
        directory = entry.directory(root)
        on_disk = store.versions_on_disk(directory)
        for version in sorted({*on_disk, *entry.versions}):
            one = ListedVersion(
                name=name,
                version=version,
                labels=sorted(label for label, labelled in entry.labels.items() if labelled == version),
                listed=version in entry.versions,
                bytes=_size(directory / str(version)) if version in on_disk else None,
            )
            if observers:
                one["states"] = _states(states, name, version)
            found.append(one)
    return found


def by_model(versions: Sequence[ListedVersion]) -> list[dict[str, Any]]:
    """Group the versions by model, as the JSON document does."""
    models: dict[str, list[dict[str, Any]]] = {}
    for one in versions:
        models.setdefault(one["name"], []).append({key: value for key, value in one.items() if key != "name"})
    return [{"name": name, "versions": listed} for name, listed in models.items()]


def table(versions: Sequence[ListedVersion]) -> str:
    """Format the versions as a table, one line each."""
    width = max((len(one["name"]) for one in versions), default=0)
    return "\n".join(_line(one, width) for one in versions)


def _line(one: ListedVersion, width: int) -> str:
    labels = ", ".join(one["labels"]) or "-"
    where = "listed" if one["listed"] else "on disk only"
    size = "not on disk" if one["bytes"] is None else f"{one['bytes'] / 1e6:,.1f} MB"
    states = "  ".join(f"{observer}: {state or 'not there'}" for observer, state in one.get("states", {}).items())
    return f"{one['name']:{width}}  {one['version']:>4}  {labels:<16}  {where:<12}  {size:>11}  {states}".rstrip()


def _states(states: Mapping[str, Mapping[str, ModelState]], name: str, version: int) -> dict[str, str | None]:
    """Return the state that each observer reports of a version; None if it does not have the version."""
    reported: dict[str, str | None] = {}
    for observer, models in states.items():
        state = models.get(name, ModelState()).versions.get(version)
        reported[observer] = state and (f"{state.state}: {state.problem}" if state.problem else state.state)
    return reported


def _size(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
